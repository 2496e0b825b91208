//! The keys of the port: a certificate authority of the data directory's own, and the server's certificate.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Names that the certificate always has.
const OWN_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];
/// The first and the last year of the certificates. A board without a clock must not lock its owner out.
const YEARS: (i32, i32) = (2020, 2099);

/// What a port serves with, kept in a directory between starts.
#[derive(Debug)]
pub struct ServingKeys {
    tls: Arc<ServerConfig>,
    authority: String,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{}: {message}; move it away, and a new one is made", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A certificate cannot be made.
    #[error("a certificate for {names:?} cannot be made: {source}")]
    Certificate {
        /// The names it should have.
        names: Vec<String>,
        /// Why not.
        source: rcgen::Error,
    },
    /// TLS refuses the certificate.
    #[error("the server's certificate does not serve: {0}")]
    Tls(#[from] rustls::Error),
}

impl ServingKeys {
    /// Opens the keys in a directory, or makes them at the first start. `names` are host names and addresses that clients use
    /// besides the local ones; where they have changed, the server's certificate is made anew and the authority stays.
    ///
    /// # Errors
    ///
    /// [`KeysError`] names the file and what is wrong.
    pub fn open(directory: &Path, names: &[String]) -> Result<Self, KeysError> {
        fs::create_dir_all(directory).map_err(|source| KeysError::File { path: directory.to_owned(), source })?;
        let mut all: Vec<String> = OWN_NAMES.iter().map(|name| (*name).to_owned()).chain(names.iter().cloned()).collect();
        all.sort();
        all.dedup();
        let authority_key = key_pair(&directory.join("authority.key"))?;
        let (params, authority_path) = (authority_params(), directory.join("authority.crt"));
        let failed = |source| KeysError::Certificate { names: all.clone(), source };
        let authority = match read(&authority_path)? {
            Some(text) => text,
            None => write(&authority_path, &params.self_signed(&authority_key).map_err(failed)?.pem(), 0o644)?,
        };
        let (server_path, names_path) = (directory.join("server.crt"), directory.join("server.names"));
        let server_key = key_pair(&directory.join("server.key"))?;
        let listed = all.join("\n");
        let server = match read(&server_path)? {
            Some(text) if read(&names_path)?.as_deref() == Some(listed.as_str()) => text,
            _ => {
                let issuer = Issuer::new(params, authority_key);
                let certificate =
                    server_params(&all).and_then(|params| params.signed_by(&server_key, &issuer)).map_err(failed)?;
                let text = write(&server_path, &certificate.pem(), 0o644)?;
                write(&names_path, &listed, 0o644)?;
                text
            }
        };
        let content =
            |path: &Path, error: &dyn std::fmt::Display| KeysError::Content { path: path.to_owned(), message: error.to_string() };
        let chain = [(&server, &server_path), (&authority, &authority_path)]
            .into_iter()
            .map(|(text, path)| CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| content(path, &error)))
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::try_from(server_key.serialize_der())
            .map_err(|error| content(&directory.join("server.key"), &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self { tls: Arc::new(tls), authority })
    }

    /// What the port's TLS runs with.
    pub fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls)
    }

    /// The authority's certificate in PEM: what a client must trust.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Stead coordinator's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dated(params)
}

fn server_params(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = named("Stead coordinator");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(dated(params))
}

fn dated(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(YEARS.0, 1, 1);
    params.not_after = date_time_ymd(YEARS.1, 12, 31);
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn key_pair(path: &Path) -> Result<KeyPair, KeysError> {
    let content = |error: rcgen::Error| KeysError::Content { path: path.to_owned(), message: error.to_string() };
    match read(path)? {
        Some(text) => KeyPair::from_pem(&text).map_err(content),
        None => {
            let pair = KeyPair::generate().map_err(content)?;
            write(path, &pair.serialize_pem(), 0o600)?;
            Ok(pair)
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, KeysError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeysError::File { path: path.to_owned(), source }),
    }
}

/// Writes a file whole or not at all: a start that was cut short leaves none that the next one would stumble over.
fn write(path: &Path, text: &str, mode: u32) -> Result<String, KeysError> {
    let failed = |source| KeysError::File { path: path.to_owned(), source };
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_authority_outlives_a_change_of_names() {
        let directory = tempfile::tempdir().unwrap();
        let first = ServingKeys::open(directory.path(), &[]).unwrap();
        let server = fs::read_to_string(directory.path().join("server.crt")).unwrap();
        let again = ServingKeys::open(directory.path(), &[]).unwrap();
        assert_eq!(first.authority(), again.authority());
        assert_eq!(server, fs::read_to_string(directory.path().join("server.crt")).unwrap());
        let renamed = ServingKeys::open(directory.path(), &["stead.example".to_owned()]).unwrap();
        assert_eq!(first.authority(), renamed.authority());
        assert_ne!(server, fs::read_to_string(directory.path().join("server.crt")).unwrap());
        for name in ["authority.key", "server.key"] {
            let mode = fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_spoilt_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("server.key"), "x").unwrap();
        let error = ServingKeys::open(directory.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("server.key") && error.contains("move it away"), "{error}");
    }
}
