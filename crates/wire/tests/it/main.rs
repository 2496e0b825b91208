//! Integration tests: both ends together, over memory and over iroh.

#[cfg(test)]
mod fleet;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod iroh;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod property;
#[cfg(test)]
mod relay;
