//! Starts one process of a unit; see `seatrial_service_real::launch`.

fn main() -> std::process::ExitCode {
    seatrial_service_real::launch()
}
