//! The Merkle tree of RFC 9162 section 2.1, with SHA-256.

use stead_model::Digest;

/// The longest inclusion proof in digests: that of a tree of 2^32 leaves.
pub const PROOF_DIGESTS_MAX: usize = 32;

/// The digest of a leaf. The byte in front keeps leaves and nodes apart.
pub fn leaf_digest(leaf: &[u8]) -> Digest {
    Digest::of_parts(&[&[0x00], leaf])
}

fn node_digest(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[0x01], left.as_bytes(), right.as_bytes()])
}

/// A tree over some leaves, kept whole so that every proof is a walk through it.
#[derive(Clone, Debug)]
pub struct Tree {
    /// From the leaves up to the root; an odd last node moves up as it is, which gives the tree of the RFC.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree over some leaves, in their order.
    pub fn new<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut level: Vec<Digest> = leaves.into_iter().map(leaf_digest).collect();
        let mut levels = Vec::new();
        while level.len() > 1 {
            let above = level
                .chunks(2)
                .filter_map(|pair| match pair {
                    [left, right] => Some(node_digest(left, right)),
                    [odd] => Some(*odd),
                    _ => None,
                })
                .collect();
            levels.push(level);
            level = above;
        }
        levels.push(level);
        Self { levels }
    }

    /// The root; that of an empty tree is the digest of nothing.
    pub fn root(&self) -> Digest {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_else(|| Digest::of(b""))
    }

    /// The proof that the leaf at an index is in the tree; none for an index outside it.
    pub fn proof(&self, index: u64) -> Option<Vec<Digest>> {
        let mut index = usize::try_from(index).ok()?;
        self.levels.first()?.get(index)?;
        let mut proof = Vec::new();
        for level in &self.levels {
            proof.extend(level.get(index ^ 1));
            index >>= 1;
        }
        Some(proof)
    }
}

/// Whether a leaf is at an index of the tree with this root and number of leaves (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(root: &Digest, count: u64, index: u64, leaf: &[u8], proof: &[Digest]) -> bool {
    if index >= count || proof.len() > PROOF_DIGESTS_MAX {
        return false;
    }
    let (mut index, mut last) = (index, count - 1);
    let mut digest = leaf_digest(leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            digest = node_digest(sibling, &digest);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            digest = node_digest(&digest, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    last == 0 && digest == *root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(leaves: &[Vec<u8>]) -> Tree {
        Tree::new(leaves.iter().map(Vec::as_slice))
    }

    /// The definition in RFC 9162 section 2.1.1, word for word.
    fn defined_root(leaves: &[Vec<u8>]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [leaf] => leaf_digest(leaf),
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_digest(&defined_root(&leaves[..split]), &defined_root(&leaves[split..]))
            }
        }
    }

    #[test]
    fn known_roots() {
        // The test vectors that implementations of RFC 6962 share.
        let leaves: Vec<Vec<u8>> =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
                .iter()
                .map(|leaf| hex::decode(leaf).unwrap())
                .collect();
        for (count, expected) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(tree(&leaves[..count]).root().to_string(), format!("sha256:{expected}"), "{count} leaves");
        }
    }

    fn leaves() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 1..40)
    }

    proptest! {
        #[test]
        fn root_is_as_defined(leaves in leaves()) {
            prop_assert_eq!(tree(&leaves).root(), defined_root(&leaves));
        }

        #[test]
        fn every_leaf_has_a_proof_and_no_other_place(leaves in leaves(), pick in any::<prop::sample::Index>(), shift in 1_u64..40) {
            let tree = tree(&leaves);
            let (count, index) = (leaves.len() as u64, pick.index(leaves.len()) as u64);
            let leaf = &leaves[pick.index(leaves.len())];
            let proof = tree.proof(index).unwrap();
            prop_assert!(verify_inclusion(&tree.root(), count, index, leaf, &proof));
            let elsewhere = (index + shift) % count;
            if leaves[elsewhere as usize] != *leaf {
                prop_assert!(!verify_inclusion(&tree.root(), count, elsewhere, leaf, &proof));
            }
            prop_assert!(tree.proof(count).is_none());
        }

        #[test]
        fn an_altered_proof_is_refused(leaves in leaves(), pick in any::<prop::sample::Index>(), bit in 0_usize..256) {
            let tree = tree(&leaves);
            let (count, index) = (leaves.len() as u64, pick.index(leaves.len()) as u64);
            let leaf = &leaves[pick.index(leaves.len())];
            let proof = tree.proof(index).unwrap();
            for place in 0..proof.len() {
                let mut altered = proof.clone();
                let mut bytes = *altered[place].as_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                altered[place] = Digest::from_bytes(bytes);
                prop_assert!(!verify_inclusion(&tree.root(), count, index, leaf, &altered));
            }
            let mut longer = proof.clone();
            longer.push(Digest::of(b""));
            prop_assert!(!verify_inclusion(&tree.root(), count, index, leaf, &longer));
            if let Some((_, shorter)) = proof.split_last() {
                prop_assert!(!verify_inclusion(&tree.root(), count, index, leaf, shorter));
            }
            let mut other = leaf.clone();
            other.push(1);
            prop_assert!(!verify_inclusion(&tree.root(), count, index, &other, &proof));
        }
    }
}
