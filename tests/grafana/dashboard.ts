// What an exported dashboard may be, by Grafana's own types. The compiler holds each against `Checked`: every name must be one that
// Grafana knows and every value of the kind that it expects, down to the options of each panel and the look of each field.
//
// Grafana's types are enums, and a JSON file has their texts: `Plain` says what an enum is in a file.
import type * as Schema from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type { DataQuery } from '@grafana/schema';
import type * as BarChart from '@grafana/schema/dist/types/raw/composable/barchart/panelcfg/x/types.gen';
import type * as Stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as Table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as TimeSeries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends Array<infer One>
      ? Array<Plain<One>>
      : unknown extends T
        ? unknown
        : { [Name in keyof T]: Plain<T[Name]> };

// What the plugin of ClickHouse and that of Prometheus ask by; Grafana's schema leaves both to the plugins.
type ClickHouseQuery = DataQuery & { editorType: 'sql'; format: 0 | 1; queryType: 'table' | 'timeseries'; rawSql: string };
type PrometheusQuery = DataQuery & {
  editorMode: 'code';
  expr: string;
  format: 'table' | 'time_series';
  instant: boolean;
  legendFormat: string;
  range: boolean;
};

type Fields<Custom> = Omit<Schema.FieldConfigSource, 'defaults'> & {
  defaults: Omit<Schema.FieldConfig, 'custom' | 'thresholds'> & {
    custom: Custom;
    thresholds: { mode: Schema.ThresholdsMode; steps: Array<{ color: string; value: number | null }> };
  };
};

type Drawn<Kind extends string, Options, Custom> = Required<
  Pick<Schema.Panel, 'datasource' | 'description' | 'gridPos' | 'id' | 'title'>
> &
  Omit<Schema.Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
    type: Kind;
    options: Options;
    fieldConfig: Fields<Custom>;
    targets: Array<ClickHouseQuery> | Array<PrometheusQuery>;
  };

type Panel =
  | Drawn<'barchart', BarChart.Options, BarChart.FieldConfig>
  | Drawn<'stat', Stat.Options, Record<string, never>>
  | Drawn<'table', Omit<Table.Options, 'showTypeIcons'>, Pick<Table.FieldConfig, 'align' | 'cellOptions' | 'inspect'>>
  | Drawn<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>
  | (Omit<Schema.RowPanel, 'panels'> & { panels: [] });

export type Checked = Plain<Required<Pick<Schema.Dashboard, 'title' | 'uid' | 'time' | 'tags'>> & Omit<Schema.Dashboard, 'panels'> & { panels: Array<Panel> }>;
