//! The Change statement: what an author signs, and how it is built.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stead_model::{Digest, GroupKind, Object, ObjectError, ObjectKey};

use crate::document::{self, Document, DocumentError, Signers, seconds, whole_seconds};
use crate::key::PublicKey;
use crate::leaf::{Leaf, OBJECT_BYTES_MAX, Op, Salt};
use crate::merkle::Tree;
use crate::root::SignDocumentError;
use crate::signature::{Signature, SignatureError, SignatureNamespace, UserPresence};
use crate::signer::{SignError, Signer};

/// The most entries of one Change: it is committed in one transaction.
pub const ENTRIES_MAX: u64 = 10_000;
/// The longest message of a Change, in bytes: a commit message, not a document.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// The longest name of who asked an online key to write, in bytes.
pub const REQUESTED_BY_BYTES_MAX: usize = 1024;

/// A Change statement (`stead.dev/change/v1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StatementDocument", into = "StatementDocument")]
pub struct ChangeStatement {
    /// The fleet.
    pub fleet: Digest,
    /// The Change's id, a ULID.
    pub id: String,
    /// When it was written, by the author's clock.
    pub time: Timestamp,
    /// The deadline for its admission.
    pub admit_before: Timestamp,
    /// Why, in the author's words.
    pub message: String,
    /// How many entries it has.
    pub count: u64,
    /// The root of the Merkle tree over them.
    pub entries_root: Digest,
    /// Who wrote it.
    pub authorship: Authorship,
}

/// The members of the document, as they are spelled.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StatementDocument {
    fleet: Digest,
    id: String,
    #[serde(with = "seconds")]
    time: Timestamp,
    #[serde(with = "seconds")]
    admit_before: Timestamp,
    message: String,
    count: u64,
    entries_root: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    author: Option<PublicKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signer: Option<PublicKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requested_by: Option<String>,
}

impl TryFrom<StatementDocument> for ChangeStatement {
    type Error = &'static str;

    fn try_from(document: StatementDocument) -> Result<Self, &'static str> {
        let authorship = match (document.author, document.signer, document.requested_by) {
            (Some(author), None, None) => Authorship::Person { author },
            (None, Some(signer), Some(requested_by)) => Authorship::Online { signer, requested_by },
            _ => return Err("it needs either `author`, or `signer` and `requestedBy`"),
        };
        let StatementDocument { fleet, id, time, admit_before, message, count, entries_root, .. } = document;
        Ok(Self { fleet, id, time, admit_before, message, count, entries_root, authorship })
    }
}

impl From<ChangeStatement> for StatementDocument {
    fn from(statement: ChangeStatement) -> Self {
        let ChangeStatement { fleet, id, time, admit_before, message, count, entries_root, authorship } = statement;
        let (author, signer, requested_by) = match authorship {
            Authorship::Person { author } => (Some(author), None, None),
            Authorship::Online { signer, requested_by } => (None, Some(signer), Some(requested_by)),
        };
        Self { fleet, id, time, admit_before, message, count, entries_root, author, signer, requested_by }
    }
}

/// Who wrote a statement. Nothing is ever signed in another's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorship {
    /// A person, with their key.
    Person {
        /// The key.
        author: PublicKey,
    },
    /// A coordinator's online key.
    Online {
        /// The key.
        signer: PublicKey,
        /// The person who asked for it.
        requested_by: String,
    },
}

impl Document for ChangeStatement {
    const TYPE: &'static str = "stead.dev/change/v1";

    fn check(&self) -> Result<(), DocumentError> {
        let wrong = |field, message: &str| Err(DocumentError::Value { field, message: message.to_owned() });
        if !is_ulid(&self.id) {
            return wrong("id", "a ULID: 26 upper-case characters of Crockford's base 32");
        }
        if self.count == 0 || self.count > ENTRIES_MAX {
            return wrong("count", "1 to 10,000 entries");
        }
        if self.message.len() > MESSAGE_BYTES_MAX {
            return wrong("message", "at most 4,096 bytes");
        }
        match &self.authorship {
            Authorship::Online { requested_by, .. } if requested_by.len() > REQUESTED_BY_BYTES_MAX => {
                wrong("requestedBy", "at most 1,024 bytes")
            }
            _ => Ok(()),
        }
    }
}

fn is_ulid(text: &str) -> bool {
    let crockford = |byte: u8| byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !b"ILOU".contains(&byte));
    text.len() == 26 && text.bytes().all(crockford) && text.as_bytes().first().is_some_and(|first| *first <= b'7')
}

impl ChangeStatement {
    /// Reads the bytes of a statement **without** looking at signatures: for showing what is on record, never for obeying it.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] says what is wrong.
    pub fn from_document(document: &[u8]) -> Result<Self, DocumentError> {
        document::read(document)
    }

    /// The id that the bytes of a statement name, with nothing else of them looked at: to call a Change something in logs and traces
    /// before it was checked.
    pub fn id_in(document: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let named: Named = serde_json::from_slice(document).ok()?;
        is_ulid(&named.id).then_some(named.id)
    }
}

/// A statement and the signatures over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedStatement {
    /// The canonical bytes that are signed.
    #[serde(with = "crate::bytes_text")]
    pub document: Vec<u8>,
    /// The signatures, one a key.
    pub signatures: Vec<Signature>,
}

/// A statement whose signatures fit it; whether they suffice is for the root to say.
#[derive(Clone, Debug)]
pub struct VerifiedStatement {
    /// The statement.
    pub statement: ChangeStatement,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The keys that signed.
    pub signers: BTreeSet<PublicKey>,
}

/// Why a signed document is refused before anybody looks at who may write what.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A signature does not fit.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The document is not well-formed.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl SignedStatement {
    /// The digest of the statement, by which receipts and acknowledgements name it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.document)
    }

    /// Verifies every signature, then reads the statement.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says what is wrong.
    pub fn verify(&self, presence: UserPresence) -> Result<VerifiedStatement, VerifyError> {
        verify_statement(&self.document, &self.signatures, presence)
    }

    /// Adds the signature of one more key.
    ///
    /// # Errors
    ///
    /// [`SignError`] where the signer does not sign.
    pub fn add_signature(&mut self, signer: &dyn Signer) -> Result<(), SignError> {
        self.signatures.push(signer.sign(SignatureNamespace::Change, &self.document)?);
        Ok(())
    }
}

pub(crate) fn verify_statement(
    document: &[u8],
    signatures: &[Signature],
    presence: UserPresence,
) -> Result<VerifiedStatement, VerifyError> {
    let signers = Signers::verify(SignatureNamespace::Change, document, signatures)?.all_keys(presence)?;
    Ok(VerifiedStatement { statement: document::read(document)?, digest: Digest::of(document), signers })
}

/// Collects the entries of a Change and makes the statement over them.
#[derive(Debug)]
pub struct StatementBuilder {
    fleet: Digest,
    id: String,
    time: Timestamp,
    admit_before: Timestamp,
    message: String,
    authorship: Authorship,
    entries: Vec<SubmittedEntry>,
    keys: BTreeSet<ObjectKey>,
}

/// Why a statement cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An object has no form that can be signed.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// An object is too long.
    #[error("{key} has {bytes} bytes; at most {OBJECT_BYTES_MAX} are sent")]
    ObjectLength {
        /// The object.
        key: ObjectKey,
        /// How long it is.
        bytes: usize,
    },
    /// An object is there twice.
    #[error("{key} is in the Change twice; each object once")]
    Twice {
        /// The object.
        key: ObjectKey,
    },
    /// The document says something that it may not say.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl StatementBuilder {
    /// An empty Change. `id` is a ULID; fractions of a second are cut off.
    pub fn new(fleet: Digest, id: &str, time: Timestamp, admit_before: Timestamp, message: &str, authorship: Authorship) -> Self {
        Self {
            fleet,
            id: id.to_owned(),
            time: whole_seconds(time),
            admit_before: whole_seconds(admit_before),
            message: message.to_owned(),
            authorship,
            entries: Vec::new(),
            keys: BTreeSet::new(),
        }
    }

    /// Adds an object that is put, as the next sequence of its name, with 32 random bytes as salt.
    ///
    /// # Errors
    ///
    /// [`BuildError`] where the object cannot be signed or is there already.
    pub fn put(&mut self, object: &Object, sequence: u64, salt: Salt) -> Result<&mut Self, BuildError> {
        let (key, bytes) = (object.key(), object.to_signed_bytes()?);
        if bytes.len() > OBJECT_BYTES_MAX {
            return Err(BuildError::ObjectLength { key, bytes: bytes.len() });
        }
        let digest = salt.digest(&bytes);
        self.add(&object.api_version, key, Op::Put, sequence, salt, digest, Some(bytes))
    }

    /// Adds a deletion, as the next sequence of the name.
    ///
    /// # Errors
    ///
    /// [`BuildError`] where the object is there already.
    pub fn delete(&mut self, api_version: &str, key: &ObjectKey, sequence: u64, salt: Salt) -> Result<&mut Self, BuildError> {
        let kind = GroupKind::from_api_version(api_version, key.kind.kind());
        let key = ObjectKey { kind, ..key.clone() };
        self.add(api_version, key, Op::Delete, sequence, salt, salt.digest(b""), None)
    }

    #[expect(clippy::too_many_arguments, reason = "the members of a leaf, and the object")]
    fn add(
        &mut self,
        api_version: &str,
        key: ObjectKey,
        op: Op,
        sequence: u64,
        salt: Salt,
        digest: Digest,
        object: Option<Vec<u8>>,
    ) -> Result<&mut Self, BuildError> {
        let leaf = Leaf {
            api_version: api_version.to_owned(),
            kind: key.kind.kind().to_owned(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            sequence,
            op,
            salt,
            digest,
        };
        let leaf = leaf.to_bytes()?;
        if !self.keys.insert(key.clone()) {
            return Err(BuildError::Twice { key });
        }
        self.entries.push(SubmittedEntry { leaf, object });
        Ok(self)
    }

    /// Makes the statement; it is still to be signed.
    ///
    /// # Errors
    ///
    /// [`BuildError::Document`] for a statement that nobody would accept.
    pub fn build(self) -> Result<Submission, BuildError> {
        let tree = Tree::new(self.entries.iter().map(|entry| entry.leaf.as_slice()));
        let statement = ChangeStatement {
            fleet: self.fleet,
            id: self.id,
            time: self.time,
            admit_before: self.admit_before,
            message: self.message,
            count: self.entries.len() as u64,
            entries_root: tree.root(),
            authorship: self.authorship,
        };
        let statement = SignedStatement { document: document::write(&statement)?, signatures: Vec::new() };
        Ok(Submission { statement, entries: self.entries })
    }
}

/// A whole Change, as its author sends it to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The statement and its signatures.
    pub statement: SignedStatement,
    /// Every entry, in the order of the tree.
    pub entries: Vec<SubmittedEntry>,
}

/// One entry of a Change, with the object as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmittedEntry {
    /// The leaf's canonical bytes.
    #[serde(with = "crate::bytes_text")]
    pub leaf: Vec<u8>,
    /// The object's canonical bytes; none for a deletion.
    #[serde(default, with = "crate::bytes_text::optional")]
    pub object: Option<Vec<u8>>,
}

impl Submission {
    /// Signs the statement.
    ///
    /// # Errors
    ///
    /// [`SignDocumentError`] where a signer does not sign.
    pub fn sign(mut self, signers: &[&dyn Signer]) -> Result<Self, SignDocumentError> {
        for signer in signers {
            self.statement.add_signature(*signer)?;
        }
        Ok(self)
    }

    /// The Merkle tree over the entries.
    pub fn tree(&self) -> Tree {
        Tree::new(self.entries.iter().map(|entry| entry.leaf.as_slice()))
    }
}
