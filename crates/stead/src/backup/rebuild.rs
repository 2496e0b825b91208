//! The record made again out of a backup, and compared with everything that the backup says of it: what `restore` puts into place, and
//! what `verify` throws away.

use std::path::Path;

use stead_admission::{MalformedRecord, decode_signatures};
use stead_model::Digest;
use stead_store::{Engine as _, EngineError, OpenError, Reading, RecordDigest, SqliteEngine, SqliteFile, digest_reading};
use stead_trust::{RootChain, RootError, SignedRoot};

use super::folder::{Found, not_whole};
use super::manifest::{Flaw, Manifest, RECORD};
use super::{Progress, files};
use crate::failure::{Failure, FailureKind};

/// A record that was made again.
pub(crate) struct Rebuilt {
    /// It, open.
    pub(crate) engine: SqliteEngine,
    /// Its trust root, from the fleet's id to the newest version.
    pub(crate) chain: RootChain,
    /// Whether the digests could be compared: the schema may have gone on since.
    pub(crate) compared: bool,
}

/// What is wrong with the record in a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrongBackup {
    #[error("{RECORD}: {0}")]
    Open(#[from] OpenError),
    #[error("{RECORD}: {0}")]
    Engine(#[from] EngineError),
    #[error("{RECORD}: SQLite finds it damaged: {}", .0.join("; "))]
    Damaged(Vec<String>),
    #[error("{RECORD}: the digest is another one: {0}")]
    Digest(String),
    #[error(
        "{RECORD}: it is at revision {found} of incarnation {incarnation}, and backup.json says {said} of {said_incarnation}"
    )]
    Other { found: u64, incarnation: String, said: u64, said_incarnation: String },
    #[error("{RECORD}: {0}")]
    Signature(#[from] MalformedRecord),
    #[error("{RECORD}: the trust root does not verify: {0}")]
    Root(#[from] RootError),
    #[error("{RECORD}: the trust root ends at version {found}, and backup.json says {said}")]
    RootVersion { found: u64, said: u64 },
}

/// Makes the record of a backup again, in a file that is not there yet.
pub(crate) async fn rebuild(backup: &Found, scratch: &Path, progress: &Progress) -> Result<Rebuilt, Failure> {
    let Found { path, manifest } = backup;
    copy_checked(path, manifest, scratch, progress)?;
    let wrong = |error: WrongBackup| not_whole(path, &[error.to_string()]);
    let faults = check_file(scratch).await.map_err(wrong)?;
    progress.rows("the record", 0);
    let engine = SqliteEngine::open(scratch).await.map_err(|error| wrong(error.into()))?;
    match compare(&engine, manifest, faults).await {
        Ok((chain, compared)) => Ok(Rebuilt { engine, chain, compared }),
        Err(error) => {
            engine.close().await;
            Err(wrong(error))
        }
    }
}

/// Reads every file of the backup through, and copies that of the record. All that is wrong is told.
fn copy_checked(path: &Path, manifest: &Manifest, scratch: &Path, progress: &Progress) -> Result<(), Failure> {
    let mut flaws = Vec::new();
    for entry in &manifest.files {
        let file = path.join(&entry.path);
        let measured = if entry.path == RECORD {
            match std::fs::File::open(&file) {
                // What fails from here on is the scratch place.
                Ok(_) => Ok(files::copy(&file, scratch, progress).map_err(|error| {
                    Failure::new(
                        FailureKind::User,
                        format!("{} cannot be copied to {}: {error}", file.display(), scratch.display()),
                    )
                })?),
                Err(error) => Err(error),
            }
        } else {
            files::measure(&file, progress)
        };
        let flaw = match measured {
            Err(error) => Flaw::of_reading(&entry.path, error),
            Ok((found, _)) if found != entry.bytes => Flaw::Size { file: entry.path.clone(), expected: entry.bytes, found },
            Ok((_, found)) if found != entry.sha256 => Flaw::Digest { file: entry.path.clone(), expected: entry.sha256, found },
            Ok(_) => continue,
        };
        flaws.push(flaw.to_string());
    }
    if flaws.is_empty() { Ok(()) } else { Err(not_whole(path, &flaws)) }
}

/// What SQLite says of the file, and the version of its schema.
async fn check_file(path: &Path) -> Result<i64, WrongBackup> {
    let file = SqliteFile::open(path).await?;
    let (faults, version) = (file.faults().await, file.schema_version());
    file.close().await;
    match faults? {
        faults if faults.is_empty() => Ok(version),
        faults => Err(WrongBackup::Damaged(faults)),
    }
}

async fn compare(engine: &SqliteEngine, manifest: &Manifest, schema: i64) -> Result<(RootChain, bool), WrongBackup> {
    let mut reading = engine.reading().await?;
    let meta = reading.meta().await?;
    if (meta.last.0, &meta.incarnation) != (manifest.revision, &manifest.incarnation) {
        return Err(WrongBackup::Other {
            found: meta.last.0,
            incarnation: meta.incarnation,
            said: manifest.revision,
            said_incarnation: manifest.incarnation.clone(),
        });
    }
    // A record whose schema has just been brought up to date has more in it than its digest was made of; its bytes were the same.
    let compared = schema == stead_store::schema_version() && schema == manifest.schema_version;
    if compared {
        let digest = digest_reading(reading.as_mut()).await?;
        if Digest::from_bytes(digest.sha256) != manifest.digest {
            let what = manifest.other_table(&digest).unwrap_or_else(|| format!("{digest} and not {}", manifest.digest));
            return Err(WrongBackup::Digest(what));
        }
    }
    let chain = chain(reading.as_mut(), &manifest.fleet).await?;
    reading.end().await;
    let found = chain.newest().version;
    if found == manifest.root_version {
        Ok((chain, compared))
    } else {
        Err(WrongBackup::RootVersion { found, said: manifest.root_version })
    }
}

/// The trust root of a record, verified from the fleet's id on.
async fn chain(reading: &mut dyn Reading, fleet: &Digest) -> Result<RootChain, WrongBackup> {
    let mut versions = Vec::new();
    for root in reading.roots_after(0).await? {
        let signatures = decode_signatures(&format!("v{}", root.version), &root.signatures)?;
        versions.push(SignedRoot { document: root.document, signatures });
    }
    Ok(RootChain::verify(fleet, &versions)?)
}

/// What a record that was just copied has in it, as the copy says.
pub(super) struct Examined {
    pub(super) digest: RecordDigest,
    pub(super) incarnation: String,
    pub(super) fleet: Digest,
    pub(super) root_version: u64,
    pub(super) schema_version: i64,
}

/// Looks through a copy that was just made: it must be sound, and the record of a fleet.
pub(super) async fn examine(path: &Path) -> Result<Examined, WrongBackup> {
    let schema_version = check_file(path).await?;
    let file = SqliteFile::open(path).await?;
    let mut reading = file.reading().await?;
    let first = reading.roots_after(0).await?.into_iter().next().ok_or(RootError::Count { count: 0 })?;
    let fleet = Digest::of(&first.document);
    let chain = chain(reading.as_mut(), &fleet).await?;
    let incarnation = reading.meta().await?.incarnation;
    let digest = digest_reading(reading.as_mut()).await?;
    reading.end().await;
    file.close().await;
    Ok(Examined { digest, incarnation, fleet, root_version: chain.newest().version, schema_version })
}
