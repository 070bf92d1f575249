//! What every world must do, whether real or simulated. Each function panics where a world does not.
//!
//! The worlds' own tests call them through [`contract_tests!`](crate::contract_tests), so that none is forgotten.

mod disk;
mod net;
mod time;

pub use disk::*;
pub use net::*;
pub use time::*;

/// Where a contract is tried out.
#[derive(Clone, Debug)]
pub struct Env<W> {
    /// The process that listens.
    pub server: W,
    /// The process that connects; may be the same.
    pub client: W,
    /// The host at which the client reaches the server.
    pub host: String,
    /// An empty folder of the server's for disks.
    pub root: String,
}

/// Makes one test of each contract. `$run` is a function that takes a closure from [`Env`] to a future, makes a
/// fresh world, and drives the future to its end.
#[macro_export]
macro_rules! contract_tests {
    ($run:path) => {
        $crate::contract_tests! { $run:
            the_clock_never_goes_back
            sleeps_end_in_order_and_not_early
            a_timeout_drops_what_takes_too_long
            the_wall_clock_moves_with_the_monotonic_one
            random_numbers_differ
            a_spawned_task_runs_and_an_aborted_one_stops
            work_returns_its_result_and_sees_the_disk
            what_is_sent_is_echoed
            a_half_closed_stream_still_receives
            a_dropped_stream_ends_the_peers_reading
            nobody_listening_is_refused
            a_listener_is_alone_at_its_address
            a_dropped_listener_refuses_and_frees_its_address
            a_reader_who_does_not_read_bounds_the_writer
            a_large_transfer_arrives_whole
            connections_do_not_mix
            a_missing_file_is_not_found
            creating_respects_the_mode
            reading_past_the_end_is_an_error
            a_gap_reads_as_zeros
            a_file_can_be_cut_grown_and_allocated
            renaming_replaces_and_removing_removes
            folders_list_their_names_sorted
            two_disks_do_not_share_names
            a_locked_file_cannot_be_locked_twice
            an_open_file_survives_its_removal
        }
    };
    ($run:path: $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $run($crate::contract::$name)
        })*
    };
}
