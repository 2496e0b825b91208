//! Whether a machine's word on an object is its own: signed by its key, and saying what the status says that it says.

use stead_model::{Acknowledgement, Digest};
use stead_trust::{MachineKey, Outcome, Signature, SignedAck};

/// The most acknowledgements that a status may hold: one for each object that a machine may hold.
pub const ACKNOWLEDGEMENTS_MAX: usize = 4_096;

/// Keeps the words that are the machine's own: of the key that it has, or had just before. Those in `known` were looked at before.
pub fn verified(
    words: Vec<Acknowledgement>,
    known: &[Acknowledgement],
    fleet: &Digest,
    keys: &[MachineKey],
) -> Vec<Acknowledgement> {
    let own = |word: &Acknowledgement| known.contains(word) || keys.iter().any(|key| is_own(word, fleet, key));
    words.into_iter().take(ACKNOWLEDGEMENTS_MAX).filter(own).collect()
}

fn is_own(word: &Acknowledgement, fleet: &Digest, machine: &MachineKey) -> bool {
    let Ok(signature) = Signature::from_armor(&word.signature) else { return false };
    let signed = SignedAck { document: word.document.clone().into_bytes(), signature };
    let Ok(ack) = signed.verify(fleet, machine) else { return false };
    let outcome = match ack.outcome {
        Outcome::Applied => "Applied",
        Outcome::Failed => "Failed",
        Outcome::Refused => "Refused",
    };
    ack.object.to_string() == word.object
        && ack.object_sequence == word.sequence
        && ack.statement == word.statement
        && outcome == word.outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::{GroupKind, ObjectKey};
    use stead_trust::{Ack, SigningKey};

    fn word(key: &SigningKey, machine: MachineKey, fleet: Digest) -> Acknowledgement {
        let object = ObjectKey::new(GroupKind::new("stead.dev", "Profile"), "", "web");
        let ack = Ack {
            fleet,
            time: jiff::Timestamp::from_second(1).unwrap(),
            machine,
            statement: Digest::of(b"s"),
            object: object.clone(),
            object_sequence: 3,
            outcome: Outcome::Applied,
            detail: String::new(),
            sequence: 1,
        };
        let signed = SignedAck::sign(&ack, key).unwrap();
        Acknowledgement {
            object: object.to_string(),
            sequence: 3,
            statement: Digest::of(b"s"),
            outcome: "Applied".to_owned(),
            document: String::from_utf8(signed.document).unwrap(),
            signature: signed.signature.to_armor(),
        }
    }

    #[test]
    fn only_the_machines_own_words_count() {
        let (key, other, fleet) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]), Digest::of(b"fleet"));
        let machine = key.machine_key().unwrap();
        let good = word(&key, machine, fleet);
        assert_eq!(verified(vec![good.clone()], &[], &fleet, &[machine]), std::slice::from_ref(&good));
        let later = other.machine_key().unwrap();
        assert_eq!(verified(vec![good.clone()], &[], &fleet, &[later, machine]).len(), 1, "it has changed its key since");
        for bad in [
            word(&other, machine, fleet),
            word(&other, other.machine_key().unwrap(), fleet),
            word(&key, machine, Digest::of(b"another")),
            Acknowledgement { sequence: 4, ..good.clone() },
            Acknowledgement { object: "Profile/db".to_owned(), ..good.clone() },
            Acknowledgement { outcome: "Failed".to_owned(), ..good.clone() },
            Acknowledgement { statement: Digest::of(b"t"), ..good.clone() },
            Acknowledgement { signature: String::new(), ..good.clone() },
        ] {
            assert!(verified(vec![bad.clone()], &[], &fleet, &[machine]).is_empty(), "{bad:?}");
            assert_eq!(verified(vec![bad.clone()], std::slice::from_ref(&bad), &fleet, &[machine]).len(), 1, "looked at before");
        }
    }
}
