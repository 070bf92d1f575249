//! The checks on the tree itself.

use seatrial_xtask::tree::{Tree, root};
use seatrial_xtask::{arrows, data, expect_none, names, pages, planted, proofs, ratchet, rooms, words};

fn tree() -> Tree {
    Tree::read().expect("the workspace can be read")
}

#[test]
fn the_arrows_between_rooms_are_those_of_the_table() {
    let tree = tree();
    let table = arrows::parse_table(tree.text("ARCHITECTURE.md").expect("ARCHITECTURE.md is there")).unwrap();
    let manifests = arrows::read_manifests(&root()).unwrap();
    expect_none("arrows", &arrows::complaints(&table, &manifests));
}

#[test]
fn no_word_stands_where_it_does_not_belong() {
    expect_none("words", &words::complaints(&tree()));
}

#[test]
fn every_scenario_is_well_formed_and_says_why() {
    expect_none("scenarios", &data::complaints(&tree()));
}

#[test]
fn every_planted_bug_is_documented_and_every_documented_one_is_planted() {
    let tree = tree();
    let source = tree.text(planted::SOURCE).expect("the list of planted bugs is there");
    let table = tree.text(planted::TABLE).expect("the table of planted bugs is there");
    expect_none("planted bugs", &planted::complaints(source, table));
    let hunts = tree.text(planted::HUNTS).expect("the list of hunts is there");
    expect_none("hunts", &planted::hunt_complaints(&planted::hunts_in_source(hunts), table));
}

#[test]
fn no_file_outgrows_the_longest() {
    let tree = tree();
    let remembered =
        ratchet::Ratchet::parse(tree.text(ratchet::FILE).expect("the ratchet is there")).unwrap();
    expect_none("sizes", &ratchet::complaints(&tree, remembered));
}

#[test]
fn every_room_says_what_it_knows_nothing_of() {
    expect_none("rooms", &rooms::complaints(&tree()));
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    expect_none("links", &rooms::broken_links(&tree()));
}

#[test]
fn every_name_a_scenario_may_use_is_explained() {
    expect_none("names", &names::complaints(&tree()));
}

#[test]
fn every_test_the_documents_call_a_proof_exists() {
    expect_none("proofs", &proofs::complaints(&tree()));
}

#[test]
fn every_fault_and_every_oracle_has_a_page_and_no_page_is_left_over() {
    expect_none("pages", &pages::complaints(&tree()));
}

#[test]
fn every_document_is_in_the_index() {
    expect_none("index", &pages::unlisted(&tree()));
}
