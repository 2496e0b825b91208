//! The unit kinds on real file systems, and the whole agent against a coordinator that lies.

#[cfg(test)]
mod alone;
#[cfg(test)]
mod conflict;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod forgeries;
#[cfg(test)]
mod honest;
#[cfg(test)]
mod lying;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod units;
