//! A manifest: everything about one version of one rollup, in one file that is never changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::error::Damage;
use crate::{ManifestProblem, RollupKey};

/// Raised when files or manifests change in a way that an older program would misread.
const STORE_FORMAT: u32 = 1;

/// What a store's files are written as.
///
/// DataFusion's version is part of it, because sketches are stored in its form: rollups of another version are built again, never
/// read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Our own count.
    pub store: u32,
    /// The version of DataFusion.
    pub datafusion: String,
}

impl Format {
    /// What this program reads and writes.
    pub fn ours() -> Self {
        Self { store: STORE_FORMAT, datafusion: datafusion::DATAFUSION_VERSION.to_owned() }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store {} of DataFusion {}", self.store, self.datafusion)
    }
}

/// One version of one rollup. Times are UTC microseconds unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the files are written as.
    pub format: Format,
    /// The rollup.
    pub key: RollupKey,
    /// Counts up by one with each publication; part of the file's name.
    pub version: u64,
    /// The digest of the definition that the rows were built from, the caller's. All partitions have the same.
    pub structure: String,
    /// The columns of the stored rows.
    #[serde(with = "schema_form")]
    pub schema: SchemaRef,
    /// The columns of index copies that have others than the rows themselves.
    #[serde(with = "schemas_form")]
    pub index_schemas: BTreeMap<String, SchemaRef>,
    /// The range of time that the partitions are meant to cover, wall clock of the key's zone; a missing end is open. None if unknown.
    pub covers: Option<(Option<i64>, Option<i64>)>,
    /// When the refresh keys were last looked at.
    pub checked_at: i64,
    /// When this version was published.
    pub published_at: i64,
    /// The lease under which it was published.
    pub fencing: u64,
    /// What is stored, in the order of the ranges, which do not overlap.
    pub partitions: Vec<RollupPartition>,
}

/// One range of a rollup, in one version of its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollupPartition {
    /// Which rows these are.
    pub range: PartitionRange,
    /// The version of the content, the caller's: it changes when rows may have changed.
    pub content: String,
    /// The value of the refresh key when it was built.
    pub refresh_key: Option<String>,
    /// When its build began, UTC microseconds.
    pub built_at: i64,
    /// How many rows, of the rollup itself.
    pub rows: u64,
    /// The size of all files.
    pub bytes: u64,
    /// The smallest and the largest time that occurs, wall clock of the key's zone. None without rows or without a time column.
    pub time_range: Option<(i64, i64)>,
    /// The rows themselves and index copies of them. None if there are no rows.
    pub files: Vec<StoredFile>,
}

/// Which rows a partition has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PartitionRange {
    /// All: the rollup is not partitioned.
    Whole,
    /// Those whose time is in `[start, end)`, microseconds of the wall clock of the key's zone.
    Between {
        /// The first moment.
        start: i64,
        /// The first moment after it.
        end: i64,
    },
    /// Those whose time is NULL.
    NoTime,
}

impl PartitionRange {
    /// Whether some row could belong to both.
    pub fn overlaps(&self, other: &PartitionRange) -> bool {
        match (self, other) {
            (Self::Whole, Self::Whole | Self::NoTime | Self::Between { .. })
            | (Self::NoTime | Self::Between { .. }, Self::Whole) => true,
            (Self::NoTime, Self::NoTime) => true,
            (Self::NoTime, Self::Between { .. }) | (Self::Between { .. }, Self::NoTime) => false,
            (Self::Between { start, end }, Self::Between { start: other_start, end: other_end }) => {
                start < other_end && other_start < end
            }
        }
    }
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its place inside the store.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// How many rows it has.
    pub rows: u64,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// What it is.
    pub table: StoredTable,
    /// The columns that its rows are sorted by.
    #[serde(default)]
    pub sorted_by: Vec<String>,
    /// The sum of the uncompressed sizes of its column chunks, so that a file that would unpack to another size is not unpacked.
    pub unpacked_bytes: u64,
    /// What each column takes in memory as Arrow.
    pub column_bytes: Vec<u64>,
}

/// What a file of a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StoredTable {
    /// The rows.
    Main,
    /// A copy in another order or coarser, by the index's name.
    Index(String),
}

impl fmt::Display for StoredTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Index(name) => write!(f, "index {name}"),
        }
    }
}

/// BLAKE3 of some bytes, 64 lower-case hexadecimal digits when written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    pub(crate) fn finish(hasher: &blake3::Hasher) -> Self {
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = from_hex(&text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a digest is 64 hexadecimal digits"))
    }
}

impl Manifest {
    /// The schema of one of the stored tables.
    pub fn table_schema(&self, table: &StoredTable) -> &SchemaRef {
        match table {
            StoredTable::Main => &self.schema,
            StoredTable::Index(name) => self.index_schemas.get(name).unwrap_or(&self.schema),
        }
    }

    /// The partition with exactly this range.
    pub fn partition(&self, range: &PartitionRange) -> Option<&RollupPartition> {
        self.partition_at(range).map(|at| &self.partitions[at])
    }

    /// Its place: there may be ten thousand.
    pub(crate) fn partition_at(&self, range: &PartitionRange) -> Option<usize> {
        self.partitions.binary_search_by(|partition| partition.range.cmp(range)).ok()
    }

    /// Whether nothing was ever published: such a version only records who may publish.
    pub(crate) fn is_barrier_only(&self) -> bool {
        self.structure.is_empty() && self.partitions.is_empty()
    }

    /// Everything that must hold of a manifest besides its digest; the contradiction if something does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let inside = format!("data/{}/", self.key.folder());
        for pair in self.partitions.windows(2) {
            let (before, after) = (&pair[0].range, &pair[1].range);
            if before.overlaps(after) {
                return Err(format!("the partitions {before:?} and {after:?} overlap"));
            }
            // In order, so that neighbours are all that can overlap.
            if before >= after {
                return Err(format!("the partition {after:?} comes after {before:?}"));
            }
        }
        for partition in &self.partitions {
            if let PartitionRange::Between { start, end } = partition.range
                && start >= end
            {
                return Err(format!("the partition [{start}, {end}) is empty"));
            }
            for file in &partition.files {
                let name = file.path.strip_prefix(&inside).unwrap_or_default();
                let plain =
                    name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.');
                if name.is_empty() || name.starts_with('.') || !plain {
                    return Err(format!("the file {:?} is not inside the rollup's own folder", file.path));
                }
                if file.column_bytes.len() != self.table_schema(&file.table).fields().len() {
                    return Err(format!("the file {:?} has other columns than the rollup", file.path));
                }
            }
            let rows: u64 =
                partition.files.iter().filter(|file| file.table == StoredTable::Main).map(|file| file.rows).sum();
            if rows != partition.rows {
                return Err(format!(
                    "the partition {:?} has {} rows, and its files have {rows}",
                    partition.range, partition.rows
                ));
            }
        }
        Ok(())
    }

    /// The file's bytes: JSON that begins with the digest of all that follows.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let body = serde_json::to_string_pretty(self).expect("a manifest has only values that JSON has");
        format!("{BEFORE_DIGEST}{}{AFTER_DIGEST}{body}{END}", Digest::of(body.as_bytes())).into_bytes()
    }

    /// Reads what [`Manifest::to_bytes`] wrote, for the file of this name.
    pub(crate) fn from_bytes(bytes: &[u8], folder: &str, version: u64) -> Result<Manifest, ManifestProblem> {
        let damaged = |damage| ManifestProblem::Damaged { folder: folder.to_owned(), version, damage };
        // The places around the body are compared byte by byte, so that no byte of the file can change unseen.
        let body = bytes
            .strip_prefix(BEFORE_DIGEST.as_bytes())
            .and_then(|rest| rest.split_at_checked(64))
            .and_then(|(digest, rest)| Some((digest, rest.strip_prefix(AFTER_DIGEST.as_bytes())?)))
            .and_then(|(digest, rest)| Some((digest, rest.strip_suffix(END.as_bytes())?)))
            .and_then(|(digest, body)| (Digest::of(body).to_string().as_bytes() == digest).then_some(body));
        let Some(body) = body else { return Err(damaged(Damage::Digest)) };
        let content = |message: String| damaged(Damage::Content(message));
        let FormatOnly { format } = serde_json::from_slice(body).map_err(|error| content(error.to_string()))?;
        if format != Format::ours() {
            return Err(ManifestProblem::OtherFormat {
                folder: folder.to_owned(),
                version,
                format: format.to_string(),
            });
        }
        let manifest: Manifest = serde_json::from_slice(body).map_err(|error| content(error.to_string()))?;
        if manifest.version != version || manifest.key.folder() != folder {
            return Err(content("it is the manifest of another rollup or version".to_owned()));
        }
        manifest.check().map_err(content)?;
        Ok(manifest)
    }
}

const BEFORE_DIGEST: &str = "{\"digest\": \"blake3:";
const AFTER_DIGEST: &str = "\",\n\"manifest\": ";
const END: &str = "}\n";

#[derive(Deserialize)]
struct FormatOnly {
    format: Format,
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// A schema as JSON: the columns for people, and Arrow's own form, exact to the last piece of metadata, for us.
mod schema_form {
    use super::*;
    use datafusion::arrow::ipc::convert::{IpcSchemaEncoder, fb_to_schema};
    use datafusion::arrow::ipc::root_as_schema;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Form {
        columns: Vec<String>,
        arrow: String,
    }

    pub(super) fn to_form(schema: &SchemaRef) -> Form {
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                format!("{}: {}{}", field.name(), field.data_type(), if field.is_nullable() { "" } else { " not null" })
            })
            .collect();
        let encoded = IpcSchemaEncoder::new().schema_to_fb(schema);
        let arrow = encoded.finished_data().iter().map(|byte| format!("{byte:02x}")).collect();
        Form { columns, arrow }
    }

    pub(super) fn from_form<E: serde::de::Error>(form: &Form) -> Result<SchemaRef, E> {
        let bytes = from_hex(&form.arrow).ok_or_else(|| E::custom("a schema is written in hexadecimal digits"))?;
        let schema = root_as_schema(&bytes).map_err(|error| E::custom(format!("not a schema: {error}")))?;
        Ok(Arc::new(fb_to_schema(schema)))
    }

    pub(super) fn serialize<S: serde::Serializer>(schema: &SchemaRef, serializer: S) -> Result<S::Ok, S::Error> {
        to_form(schema).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SchemaRef, D::Error> {
        from_form(&Form::deserialize(deserializer)?)
    }
}

mod schemas_form {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        schemas: &BTreeMap<String, SchemaRef>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(schemas.iter().map(|(name, schema)| (name, schema_form::to_form(schema))))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, SchemaRef>, D::Error> {
        let forms = BTreeMap::<String, schema_form::Form>::deserialize(deserializer)?;
        forms.into_iter().map(|(name, form)| Ok((name, schema_form::from_form(&form)?))).collect()
    }
}
