//! What operators get: rules that fire when they should, a real Prometheus that reads them, names that exist.

mod grafana;
mod names;
mod rules;
mod scrape;
