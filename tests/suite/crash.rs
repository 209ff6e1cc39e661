//! A run that is ended at any moment leaves nothing that the next one stumbles over.
//!
//! Compiles, collections and unpackings run into one place, over and over, and are ended at moments spread by chance over
//! their whole length. What stands at the output is then the old image or the new one, whole; and the next run gives what a
//! run in peace gives, and tidies up. `KIC_TEST_KILLS` sets how often: the goal is 200 of each, and the suite is content with
//! a few.

mod collection;
mod compile;
mod interrupted;
mod large_tree;
mod second_store;
mod unpack;
