//! Which rollup a file belongs to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One rollup: a definition of the model, built with the local times of one zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RollupKey {
    /// The cube that declares it.
    pub cube: String,
    /// Its name inside the cube.
    pub name: String,
    /// The IANA name of the zone whose wall clock its times show.
    pub zone: String,
}

impl RollupKey {
    /// A key from its three names.
    pub fn new(cube: impl Into<String>, name: impl Into<String>, zone: impl Into<String>) -> Self {
        Self { cube: cube.into(), name: name.into(), zone: zone.into() }
    }

    /// The folder of this rollup's files: readable, and different for different keys whatever their names are.
    ///
    /// Only `a-z`, `0-9`, `_` and `-`, so that no name of a model can leave the store.
    pub fn folder(&self) -> String {
        let readable = |name: &str| -> String {
            name.chars()
                .take(40)
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
                .collect()
        };
        let mut hasher = blake3::Hasher::new();
        for part in [&self.cube, &self.name, &self.zone] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let digest = hasher.finalize().to_hex();
        format!("{}-{}-{}", readable(&self.cube), readable(&self.name), &digest[..20])
    }
}

impl fmt::Display for RollupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ({})", self.cube, self.name, self.zone)
    }
}
