//! The notification socket of a unit (sd_notify(3)).

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use seatrial_service::Notification;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Messages are a few lines.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A socket that says who sent what.
pub(crate) struct Socket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Socket {
    /// Opens it anew; who has the path goes on writing to it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        rustix::net::sockopt::set_socket_passcred(&socket, true)?;
        // A unit may run as any user.
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// The next message, and the process that sent it.
    pub(crate) fn next(&self) -> Option<(Option<u32>, Notification)> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received =
            rustix::net::recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::empty()).ok()?;
        let from = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(who) => u32::try_from(who.pid.as_raw_nonzero().get()).ok(),
            _ => None,
        });
        let text = String::from_utf8_lossy(&bytes[..received.bytes.min(MESSAGE_BYTES_MAX)]).into_owned();
        Some((from, Notification::parse(&text)))
    }

    pub(crate) fn close(self) {
        // It is a name in our own folder; where it stays, the next one replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}
