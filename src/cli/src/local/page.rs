//! The web server of the demo's units: a page that says who serves it. There is none that every machine has.

use clap::Args;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::time::Duration;

/// A reader that says nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a request that are read.
const REQUEST_BYTES_MAX: usize = 8 << 10;

#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Who serves it.
    #[arg(long)]
    name: String,
    /// Where.
    #[arg(long)]
    listen: String,
}

pub(crate) fn run(args: &PageArgs) -> ExitCode {
    let listener = match listen(&args.listen) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("seatrial: --listen {}: {error}", args.listen);
            return ExitCode::from(crate::exit::VIOLATION);
        }
    };
    println!("{} listens on {}", args.name, args.listen);
    ready();
    let mut served = 0_u64;
    for stream in listener.incoming().flatten() {
        served += 1;
        match answer(stream, &format!("{} served page {served}\n", args.name)) {
            Ok(()) => println!("{} served page {served}", args.name),
            Err(error) => println!("{}: a reader left: {error}", args.name),
        }
    }
    ExitCode::SUCCESS
}

/// Beside another copy, if need be: that of a machine whose fleetd was killed runs on, and all machines of the demo are one.
fn listen(place: &str) -> std::io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    const WAITING_MAX: i32 = 128;
    let address: SocketAddr = place
        .parse()
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no ADDRESS:PORT"))?;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, WAITING_MAX)?;
    Ok(socket.into())
}

fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (mut request, mut piece) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ if request.len() > REQUEST_BYTES_MAX => return Err(std::io::ErrorKind::InvalidData.into()),
            count => request.extend_from_slice(&piece[..count]),
        }
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(page.as_bytes())
}

/// Says to whoever started us that we are heard (sd_notify(3)), so that `active` means that.
fn ready() {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", &path));
    if let Err(error) = sent {
        eprintln!("seatrial: NOTIFY_SOCKET {path}: {error}");
    }
}
