//! How signatures and proofs lie in the record, and how a machine's bundle is made of them.

use stead_model::{Digest, ObjectKey};
use stead_store::{Change, Entry};
use stead_trust::{Bundle, BundleEntry, Signature, SignatureError};

/// What the record keeps cannot be read: somebody altered it behind the coordinator's back.
#[derive(Debug, thiserror::Error)]
#[error("change {change} in the record: {what} cannot be read: {reason}; the record was altered, restore it from a backup")]
pub struct MalformedRecord {
    change: String,
    what: &'static str,
    reason: String,
}

/// Signatures as one column: SSHSIG blobs, each after its length in four big-endian bytes.
pub(crate) fn encode_signatures(signatures: &[Signature]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for signature in signatures {
        let blob = signature.as_blob();
        let length = u32::try_from(blob.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(blob);
    }
    bytes
}

/// Reads the signatures of a column.
///
/// # Errors
///
/// [`MalformedRecord`] where the column holds something else.
pub fn decode_signatures(change: &str, mut bytes: &[u8]) -> Result<Vec<Signature>, MalformedRecord> {
    let malformed = |reason: String| MalformedRecord { change: change.to_owned(), what: "a signature", reason };
    let mut signatures = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (blob, after) = rest.split_at_checked(length).ok_or_else(|| malformed("it is cut short".to_owned()))?;
        signatures.push(Signature::from_blob(blob).map_err(|error: SignatureError| malformed(error.to_string()))?);
        bytes = after;
    }
    if bytes.is_empty() { Ok(signatures) } else { Err(malformed("there are bytes after the last one".to_owned())) }
}

/// A proof as one column: its digests, one after the other.
pub(crate) fn encode_proof(proof: &[Digest]) -> Vec<u8> {
    proof.iter().flat_map(|digest| *digest.as_bytes()).collect()
}

fn decode_proof(change: &str, bytes: &[u8]) -> Result<Vec<[u8; 32]>, MalformedRecord> {
    let (digests, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() {
        return Ok(digests.to_vec());
    }
    Err(MalformedRecord { change: change.to_owned(), what: "a proof", reason: "its length is no multiple of 32".to_owned() })
}

/// What a machine is sent of one Change: the statement, the receipt, and the entries that are meant for it.
///
/// # Errors
///
/// [`MalformedRecord`] where the record holds something else.
pub fn bundle_of_change(change: &Change, entries: &[Entry]) -> Result<Bundle, MalformedRecord> {
    let receipt_signature = decode_signatures(&change.id, &change.receipt_signature)?.into_iter().next();
    let receipt_signature = receipt_signature.ok_or_else(|| MalformedRecord {
        change: change.id.clone(),
        what: "the receipt's signature",
        reason: "it is empty".to_owned(),
    })?;
    let entries = entries.iter().map(|entry| {
        Ok(BundleEntry {
            leaf: entry.leaf.clone(),
            index: entry.index,
            proof: decode_proof(&change.id, &entry.proof)?,
            object: entry.object.clone(),
        })
    });
    Ok(Bundle {
        statement: change.statement.clone(),
        signatures: decode_signatures(&change.id, &change.signatures)?,
        receipt: change.receipt.clone(),
        receipt_signature,
        entries: entries.collect::<Result<_, MalformedRecord>>()?,
    })
}

/// The bundles of the newest entries of some names, in the order of their changes; a row that cannot be read is left out and named.
pub fn bundle_rows(rows: Vec<(Change, Entry)>) -> (Vec<Bundle>, Vec<(ObjectKey, MalformedRecord)>) {
    let (mut bundles, mut malformed) = (Vec::new(), Vec::new());
    let mut rows = rows.into_iter().peekable();
    while let Some((change, entry)) = rows.next() {
        let mut entries = vec![entry];
        while let Some((_, entry)) = rows.next_if(|(next, _)| next.revision == change.revision) {
            entries.push(entry);
        }
        match bundle_of_change(&change, &entries) {
            Ok(bundle) => bundles.push(bundle),
            Err(_) => {
                // One altered row must not hide its neighbours of the same change.
                for entry in entries {
                    match bundle_of_change(&change, std::slice::from_ref(&entry)) {
                        Ok(bundle) => bundles.push(bundle),
                        Err(error) => malformed.push((entry.key, error)),
                    }
                }
            }
        }
    }
    (bundles, malformed)
}
