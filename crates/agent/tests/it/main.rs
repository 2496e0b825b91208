//! The unit kinds on real file systems.

#[cfg(test)]
mod units;
