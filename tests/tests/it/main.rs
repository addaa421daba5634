//! All integration tests in one program, so that they are linked once.

mod admin_socket;
mod backups;
mod bad_input;
mod bad_start;
mod by_hand;
mod callers;
mod card;
mod command_line;
mod completions;
mod crash;
mod disk;
mod failing_card;
mod letters;
mod live;
mod manuals;
mod openapi;
mod outside;
mod people;
mod process;
mod requests;
mod schedules;
mod scripts;
mod simulation;
mod tidy;
mod tour;
mod work;
