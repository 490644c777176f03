//! Reading what `tally audit export` wrote: a folder or an object store with one folder a table and a manifest.

use super::snapshot::Snapshot;
use super::table::{BUCKET, Table, tables};
use arrow_schema::{DataType, Field, Schema};
use datafusion::common::DataFusionError;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt, future, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;
use url::Url;

/// The file that makes a folder an export.
pub(super) const MANIFEST: &str = "manifest.json";
/// Which columns the files have, and in which folders they lie; an export of another format is not read.
pub(super) const FORMAT: u32 = 4;

/// An export of an object store up to this is read into memory at once; one of few tasks has some 320 files.
const NEAR_BYTES_MAX: u64 = 32 << 20;
const NEAR_FILES_MAX: usize = 2_000;
const FETCHES_AT_ONCE: usize = 16;

/// So many files that differ are named.
const FILES_NAMED_MAX: usize = 5;

/// What stands in the manifest of any format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What stands in it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) snapshot: Snapshot,
    pub(super) rows: Vec<(String, u64)>,
    /// Every other file, by path below the export, and its bytes.
    pub(super) files: BTreeMap<String, u64>,
}

/// Why an export could not be read or written.
#[derive(Debug, Error)]
pub enum ParquetError {
    /// The address is none.
    #[error("'{0}' is neither a folder nor the address of an object store, such as s3://bucket/folder")]
    Address(String),
    /// Something lies there already.
    #[error("{0} is not empty: an export is never mixed with another; name a new folder")]
    Occupied(String),
    /// It is no export.
    #[error("{0} holds no {MANIFEST}: it is no export, or one that was not finished")]
    NoManifest(String),
    /// The manifest is of another time.
    #[error("the export has format {0}, this program knows {FORMAT}: export again")]
    Format(u32),
    /// Files were lost, cut, or added since.
    #[error("the export is not what its {MANIFEST} says: {}; export again", .0.join(", "))]
    Files(Vec<String>),
    /// The manifest is no JSON of ours.
    #[error("{MANIFEST} cannot be read")]
    Manifest(#[from] serde_json::Error),
    /// The store refused.
    #[error("object store")]
    Store(#[from] object_store::Error),
    /// The folder could not be made.
    #[error("making the folder")]
    Folder(#[from] std::io::Error),
    /// The query engine refused.
    #[error(transparent)]
    Engine(#[from] DataFusionError),
}

/// A folder, here or in an object store.
#[derive(Clone, Debug)]
pub struct Place {
    store: Arc<dyn ObjectStore>,
    url: Url,
    prefix: Path,
}

impl Place {
    /// A folder by path, or an address such as `s3://bucket/folder`, whose credentials come from the environment
    /// (`AWS_ACCESS_KEY_ID` and so on).
    ///
    /// # Errors
    /// Where the address is none, or the folder cannot be made.
    pub fn open(address: &str) -> Result<Place, ParquetError> {
        if !address.contains("://") {
            std::fs::create_dir_all(address)?;
            let folder = std::fs::canonicalize(address)?;
            let url =
                Url::from_directory_path(&folder).map_err(|()| ParquetError::Address(address.to_owned()))?;
            let prefix = Path::from_url_path(url.path()).map_err(object_store::Error::from)?;
            return Ok(Place { store: Arc::new(object_store::local::LocalFileSystem::new()), url, prefix });
        }
        let url = format!("{}/", address.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| ParquetError::Address(address.to_owned()))?;
        let options = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, prefix) = object_store::parse_url_opts(&url, options)?;
        Ok(Place { store: store.into(), url, prefix })
    }

    /// The address of a file or folder below.
    pub(super) fn url(&self, name: &str) -> String {
        format!("{}{name}", self.url)
    }

    /// Lets a session read and write here.
    pub(super) fn register(&self, context: &SessionContext) {
        if self.url.scheme() != "file" {
            context.register_object_store(&self.url, self.store.clone());
        }
    }

    /// The same with its files in memory, where it lies in an object store and is small. Each of its hundreds of files would otherwise be
    /// asked for again by every query. What is opened then, and held against its manifest, is what was read.
    ///
    /// # Errors
    /// Where the store refuses.
    pub async fn brought_near(self) -> Result<Place, ParquetError> {
        if self.url.scheme() == "file" || self.get(MANIFEST).await?.is_none() {
            return Ok(self); // what holds no export may be a whole bucket
        }
        let Some(files) = self.small().await? else { return Ok(self) };
        let (far, near) = (&self.store, InMemory::new());
        let fetch = |file: ObjectMeta| {
            let near = &near;
            async move { near.put(&file.location, far.get(&file.location).await?.bytes().await?.into()).await }
        };
        let fetched = stream::iter(files).map(fetch).buffer_unordered(FETCHES_AT_ONCE);
        fetched.try_for_each(|_| future::ready(Ok(()))).await?;
        Ok(Place { store: Arc::new(near), ..self })
    }

    /// Everything below, unless that is much: then it is not listed to its end.
    async fn small(&self) -> Result<Option<Vec<ObjectMeta>>, ParquetError> {
        let (mut files, mut bytes) = (Vec::new(), 0);
        let mut listed = self.store.list(Some(&self.prefix));
        while let Some(file) = listed.try_next().await? {
            bytes += file.size;
            files.push(file);
            if bytes > NEAR_BYTES_MAX || files.len() > NEAR_FILES_MAX {
                return Ok(None);
            }
        }
        Ok(Some(files))
    }

    pub(super) async fn must_be_empty(&self) -> Result<(), ParquetError> {
        match self.store.list(Some(&self.prefix)).try_next().await? {
            Some(_) => Err(ParquetError::Occupied(self.url.to_string())),
            None => Ok(()),
        }
    }

    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ParquetError> {
        self.store.put(&self.prefix.clone().join(name), bytes.into()).await?;
        Ok(())
    }

    /// Every file below but the manifest, and its bytes.
    pub(super) async fn files(&self) -> Result<BTreeMap<String, u64>, ParquetError> {
        let mut all = BTreeMap::new();
        let mut listed = self.store.list(Some(&self.prefix));
        while let Some(file) = listed.try_next().await? {
            let parts = file.location.prefix_match(&self.prefix).into_iter().flatten();
            let path = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            all.insert(path, file.size);
        }
        all.remove(MANIFEST);
        Ok(all)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ParquetError> {
        match self.store.get(&self.prefix.clone().join(name)).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads an export's manifest.
///
/// # Errors
/// Where there is none, or it cannot be read.
pub async fn open(place: &Place) -> Result<Snapshot, ParquetError> {
    let bytes = place.get(MANIFEST).await?;
    let bytes = bytes.ok_or_else(|| ParquetError::NoManifest(place.url.to_string()))?;
    let of: Format = serde_json::from_slice(&bytes)?;
    if of.format != FORMAT {
        return Err(ParquetError::Format(of.format));
    }
    let manifest: Manifest = serde_json::from_slice(&bytes)?;
    let found = place.files().await?;
    if manifest.files != found {
        return Err(ParquetError::Files(differing(&manifest.files, &found)));
    }
    Ok(Snapshot { rows: manifest.rows, ..manifest.snapshot })
}

/// The first files that are not those that were written, and what is wrong with each.
fn differing(written: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Vec<String> {
    let names: BTreeSet<&String> = written.keys().chain(found.keys()).collect();
    let wrong = names.into_iter().filter_map(|name| match (written.get(name), found.get(name)) {
        (Some(_), None) => Some(format!("{name} is missing")),
        (None, Some(_)) => Some(format!("{name} was added")),
        (was, is) => (was != is).then(|| format!("{name} has another size")),
    });
    wrong.take(FILES_NAMED_MAX).collect()
}

/// Makes every table of an export known to a session. With `views` texts stay in the pages of the file, which is faster; but what sorts
/// under a limit of memory would count the whole page for each few rows of it.
///
/// # Errors
/// Where a name is taken.
pub fn register(context: &SessionContext, place: &Place, views: bool) -> Result<(), ParquetError> {
    place.register(context);
    for table in tables() {
        context.register_table(table.name, Arc::new(listing(place, table, views)?))?;
    }
    Ok(())
}

fn listing(place: &Place, table: &Table, views: bool) -> Result<ListingTable, ParquetError> {
    let url = ListingTableUrl::parse(place.url(&format!("{}/", table.name)))?;
    let format = ParquetFormat::default().with_force_view_types(views);
    let mut options = ListingOptions::new(Arc::new(format)).with_file_extension(".parquet");
    let (schema, own) = (table.schema(), |field: &&Arc<Field>| !table.bucketed || field.name() != BUCKET);
    let seen = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 if views => Field::new(field.name(), DataType::Utf8View, true),
        _ => field.as_ref().clone(),
    };
    let schema = Arc::new(Schema::new(schema.fields().iter().filter(own).map(seen).collect::<Vec<_>>()));
    if table.bucketed {
        options = options.with_table_partition_cols(vec![(BUCKET.to_owned(), DataType::Int64)]);
    }
    let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(schema);
    Ok(ListingTable::try_new(config)?)
}

#[cfg(test)]
mod tests {
    use super::{InMemory, NEAR_BYTES_MAX, ObjectStoreExt, Path, Place, Url};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// Scenario: a small export of an object store is brought near, and so is one that is a byte too large; then both are deleted there.
    /// Guarantees: the small one is still there, by the same names and bytes; the large one was left where it lay.
    #[tokio::test]
    async fn a_small_export_is_read_once() {
        for more in [0, 1] {
            let far = Arc::new(InMemory::new());
            let url = Url::parse("s3://bucket/export/").expect("an address");
            let place = Place { store: far.clone(), url, prefix: Path::from("export") };
            let size = usize::try_from(NEAR_BYTES_MAX).expect("small") - 3 + more;
            let file = Path::from("export/task_events/task_bucket=7/a.parquet");
            far.put(&file, vec![1; size].into()).await.expect("room");
            place.put("manifest.json", b"{ }".to_vec()).await.expect("room");
            let near = place.brought_near().await.expect("it answers");
            for name in ["export/manifest.json", file.as_ref()] {
                far.delete(&Path::from(name)).await.expect("it was there");
            }
            let whole = BTreeMap::from([("task_events/task_bucket=7/a.parquet".to_owned(), size as u64)]);
            let expected = if more == 0 { whole } else { BTreeMap::new() };
            assert_eq!(near.files().await.expect("it answers"), expected);
            let manifest = near.get("manifest.json").await.expect("it answers");
            assert_eq!(manifest, (more == 0).then(|| b"{ }".to_vec()));
        }
    }
}
