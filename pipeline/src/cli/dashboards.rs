//! `tally dashboards`: what operators put beside the service.

use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tally_dashboards::grafana::{Language, dashboards};

/// What operators put beside the service: dashboards of Grafana, rules of Prometheus.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum DashboardsCommand {
    /// Write the dashboards of Grafana, and Prometheus' rules with an example of its configuration, into a folder.
    ///
    /// The same version writes the same files. Files of these names are replaced, others are left alone.
    Export(ExportArgs),
}

#[derive(clap::Args, Debug)]
pub(crate) struct ExportArgs {
    /// Folder; `grafana` and `prometheus` are made in it.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Language of titles.
    #[arg(long, default_value = "en", value_name = "LANGUAGE")]
    language: Titles,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Titles {
    /// English.
    En,
    /// Chinese.
    Zh,
}

/// Prometheus' files, by the name under which they are written.
const PROMETHEUS: [(&str, &str); 6] = [
    ("prometheus.yml", include_str!("../../../dashboards/prometheus/prometheus.yml")),
    ("rules/audit.yml", include_str!("../../../dashboards/prometheus/rules/audit.yml")),
    ("rules/feed.yml", include_str!("../../../dashboards/prometheus/rules/feed.yml")),
    ("rules/gateway.yml", include_str!("../../../dashboards/prometheus/rules/gateway.yml")),
    ("rules/ingest.yml", include_str!("../../../dashboards/prometheus/rules/ingest.yml")),
    ("rules/service.yml", include_str!("../../../dashboards/prometheus/rules/service.yml")),
];

pub(crate) fn run(command: &DashboardsCommand) -> anyhow::Result<ExitCode> {
    let DashboardsCommand::Export(ExportArgs { out, language }) = command;
    let language = match language {
        Titles::En => Language::English,
        Titles::Zh => Language::Chinese,
    };
    for dashboard in dashboards(language) {
        write(
            &out.join("grafana").join(format!("{}.json", dashboard.name)),
            &format!("{:#}\n", dashboard.json),
        )?;
    }
    for (name, text) in PROMETHEUS {
        write(&out.join("prometheus").join(name), text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(path, text).with_context(|| path.display().to_string())
}
