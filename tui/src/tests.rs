//! The console without a terminal and without a daemon: decisions as tables, frames as pictures, and whatever comes at random.

mod canned;
mod daemon;
mod world;

mod decisions;
mod drafts;
mod frames;
mod jobs;
mod random;
mod states;
