//! Operator, partner, customer: what each exports is the invoice of the next, over two months with
//! corrections, and no cent is lost on the way. The world is made up by tests/python/federation.py,
//! which adds up what must come out.

use tests::atcost::{binary, utf8};
use tests::machine::python;

#[test]
fn every_cent_is_conserved_from_one_installation_to_the_next() {
    for seed in ["1", "2"] {
        let folder = tempfile::tempdir().expect("the machine has room for a folder");
        let (text, is_conserved) = python("federation.py", &[utf8(binary()), seed, utf8(folder.path())]);
        assert!(is_conserved && text.contains("every cent is conserved"), "{text}");
    }
}
