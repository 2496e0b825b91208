//! The product's binary as it is released: its size.

use crate::failure::BenchError;
use crate::sample::Samples;
use std::path::PathBuf;

/// Bytes in a mebibyte.
pub(crate) const MIB_BYTES: f64 = 1_048_576.0;

/// Where the release build of the product is; `cargo xtask bench` says.
pub(crate) fn path() -> Result<PathBuf, BenchError> {
    std::env::var_os("STEAD_BENCH_BINARY").map(PathBuf::from).ok_or(BenchError::NoBinary)
}

/// Its size; the release profile strips it.
pub(crate) fn size() -> Result<Vec<Samples>, BenchError> {
    let path = path()?;
    let metadata = std::fs::metadata(&path).map_err(|source| BenchError::File { path, source })?;
    let value = metadata.len() as f64 / MIB_BYTES;
    Ok(vec![Samples { values: vec![value], ..Samples::default() }])
}
