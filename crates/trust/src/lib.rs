//! Who may say what in a fleet, and how a machine knows: keys, signed statements, the trust root, verdicts.
//!
//! # Goals
//!
//! - A coordinator in wrong hands cannot make a machine apply what its owners did not sign, alter it, replay it, or reorder it.
//! - Every signed document is canonical JSON under an SSH signature, so that `ssh-keygen -Y verify` can check it without us.
//! - A verdict is a pure function: evidence in, verdict out, and a refusal says which check failed.
//!
//! # Non-goals
//!
//! No input or output, no network, no store, no clock, no randomness of its own: times, seeds and salts are arguments.
//! Signers that speak with an agent or a device live elsewhere and fill [`Signer`].
//!
//! # How the pieces interact
//!
//! A [`SigningKey`] (or any [`Signer`]) makes a [`Signature`] over a document for one [`SignatureNamespace`]. The [`RootChain`]
//! starts at the fleet's id and says, by its newest [`Root`], who may write what. An author collects objects in a
//! [`StatementBuilder`] and signs the [`Submission`]. A coordinator asks [`admit`], commits, adds a [`SignedReceipt`], and cuts a
//! [`Bundle`] for each machine. The machine asks [`judge`], which knows only the [`MachineMemory`] and the bundle, and acknowledges
//! with a [`SignedAck`].
//!
//! ```
//! use stead_trust::{SignatureNamespace, Signer, SigningKey, verify};
//!
//! let key = SigningKey::from_seed(&[7; 32]);
//! let signature = key.sign(SignatureNamespace::Change, b"{}")?;
//! assert_eq!(&verify(SignatureNamespace::Change, b"{}", &signature)?, key.public_key());
//! assert!(verify(SignatureNamespace::Root, b"{}", &signature).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ack;
mod admit;
mod armor;
mod bundle;
mod bytes_text;
mod document;
mod enrolment;
mod export;
mod fresh;
mod giveback;
mod key;
mod leaf;
mod login;
mod machine;
mod merkle;
mod plan;
mod proposal;
mod receipt;
mod recover;
mod root;
mod signature;
mod signer;
mod sshwire;
mod statement;
mod token;

pub use ack::{ACK_DETAIL_BYTES_MAX, Ack, AckError, Outcome, SignedAck};
pub use admit::{AdmissionError, Admitted, AdmittedEntry, Current, Taken, admit};
pub use bundle::{BUNDLE_BYTES_MAX, BUNDLE_ENTRIES_MAX, Bundle, BundleEntry, BundleError};
pub use document::{DOCUMENT_BYTES_MAX, DocumentError, SIGNATURES_MAX};
pub use enrolment::{
    CountersignError, DELEGATION_LABELS_MAX, Delegation, EnrolmentError, EnrolmentRequest, NAME_PATTERN_BYTES_MAX,
    SignedDelegation, matches_pattern, verify_enrolment,
};
pub use export::{Export, ExportedSignature, export};
pub use fresh::{FRESHNESS_BYTES_MAX, FRESHNESS_LATER, FRESHNESS_PREFIX, Freshness, FreshnessError, SignedFreshness};
pub use giveback::{
    CREDENTIAL_BUNDLE_BYTES_MAX, CREDENTIAL_ROOTS_BYTES_MAX, Credential, GIVE_BACK_ANSWER_BYTES_MAX, GIVE_BACK_ASK_BYTES_MAX,
    GIVE_BACK_NAMES_MAX, GIVE_BACK_PART_BYTES, GIVE_BACK_PREFIX, GIVEN_BACK_BYTES, GIVEN_BACK_BYTES_MAX,
    GIVEN_BACK_DOCUMENTS_MAX, GiveBackAnswer, GiveBackAsk, GiveBackError, HeldLine, given_back,
};
pub use key::{MachineKey, MachineKeyError, PUBLIC_KEY_BYTES_MAX, PublicKey, PublicKeyError, RSA_BITS_MAX, RSA_BITS_MIN};
pub use leaf::{LEAF_BYTES_MAX, Leaf, OBJECT_BYTES_MAX, ObjectMismatch, Op, Salt};
pub use login::{LOGIN_SKEW_SECONDS_MAX, Login, LoginError, NONCE_CHARACTERS, SignedLogin};
pub use machine::{
    AcceptedEntry, Adoption, Check, EntryRow, HeldEntry, JoinError, MachineMemory, MemoryError, MemoryRow, Refusal, RootRow,
    StatementRow, adopt_roots, judge,
};
pub use merkle::{PROOF_DIGESTS_MAX, Tree, leaf_digest, verify_inclusion};
pub use plan::{PLAN_SKEW_SECONDS_MAX, PlanError, may_plan, sign_plan};
pub use proposal::{Assessment, Standing, assess};
pub use receipt::{AUTHOR_AHEAD_SECONDS_MAX, Receipt, SignedReceipt};
pub use recover::{Recovered, RecoveredEntry, RecoveredStanding, recover};
pub use root::authority::{Authority, Labels, Signatures, Unauthorised, selects};
pub use root::chain::{ROOT_VERSIONS_MAX, RootChain, RootError};
pub use root::{ExpiryPolicy, KEYS_MAX, KeySet, Online, ROLES_MAX, Role, Root, SignDocumentError, SignedRoot};
pub use signature::{
    SIGNATURE_BYTES_MAX, Signature, SignatureError, SignatureNamespace, UserPresence, signed_data, verify, verify_with,
};
pub use signer::{Clock, KEY_FILE_BYTES_MAX, KeyFileError, SignError, Signer, SigningKey};
pub use statement::{
    Authorship, BuildError, ChangeStatement, ENTRIES_MAX, MESSAGE_BYTES_MAX, REQUESTED_BY_BYTES_MAX, SignedStatement,
    StatementBuilder, Submission, SubmittedEntry, VerifiedStatement, VerifyError,
};
pub use token::{SignedToken, Token, TokenError};
