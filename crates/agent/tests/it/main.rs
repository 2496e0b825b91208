//! The unit kinds on real file systems, and the whole agent against a coordinator that lies.

#[cfg(test)]
mod fleet;
#[cfg(test)]
mod honest;
#[cfg(test)]
mod lying;
#[cfg(test)]
mod units;
