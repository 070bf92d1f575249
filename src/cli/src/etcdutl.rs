//! `seatrial etcdutl`: what is done to files while no member runs.

use crate::etcdctl::go::human_bytes;
use crate::{exit, snapshot};
use clap::{Args, Subcommand, ValueEnum};
use seatrial_node::{Cluster, RedbOptions};
use seatrial_types::Revision;
use seatrial_world::World;
use seatrial_world_real::RealWorld;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Snapshot files.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Writes the store's file of a data folder anew, which gives back the room of what was deleted.
    Defrag(DefragArgs),
    /// Prints the hash of the keys and values in a data folder.
    Hashkv(HashKvArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DefragArgs {
    /// The folder of a member that does not run.
    #[arg(long)]
    data_dir: String,
}

#[derive(Debug, Args)]
pub(crate) struct HashKvArgs {
    /// The data folder of a member that does not run.
    #[arg(required_unless_present = "data_dir")]
    folder: Option<String>,
    /// The same, by name.
    #[arg(long, conflicts_with = "folder")]
    data_dir: Option<String>,
    /// Up to which revision; 0 for the newest.
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// How it is printed.
    #[arg(short = 'w', long, value_enum, default_value = "simple")]
    write_out: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Checks a snapshot file and says what it is of.
    Status(StatusArgs),
    /// Makes a data folder of it, for a member of a new cluster.
    Restore(RestoreArgs),
}

/// How a status is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    Simple,
    Json,
    Fields,
    Table,
}

impl TryFrom<crate::etcdctl::Format> for Format {
    type Error = ();

    /// A snapshot's status is no message of etcd's.
    fn try_from(format: crate::etcdctl::Format) -> Result<Self, ()> {
        Ok(match format {
            crate::etcdctl::Format::Simple => Self::Simple,
            crate::etcdctl::Format::Json => Self::Json,
            crate::etcdctl::Format::Fields => Self::Fields,
            crate::etcdctl::Format::Table => Self::Table,
            crate::etcdctl::Format::Protobuf => return Err(()),
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// As `etcdctl snapshot save` wrote it.
    file: PathBuf,
    /// How it is printed.
    #[arg(short = 'w', long, value_enum, default_value = "simple")]
    write_out: Format,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// As `etcdctl snapshot save` wrote it.
    pub(crate) file: PathBuf,
    /// The member's name in the new cluster.
    #[arg(long, default_value = "default")]
    pub(crate) name: String,
    /// Folder to be made; must not be there yet [default: NAME.etcd].
    #[arg(long)]
    pub(crate) data_dir: Option<String>,
    /// All members of the new cluster.
    #[arg(long, default_value = "default=http://localhost:2380", value_delimiter = ',')]
    pub(crate) initial_cluster: Vec<String>,
    /// Keeps the new cluster apart from others.
    #[arg(long, default_value = "etcd-cluster")]
    pub(crate) initial_cluster_token: String,
    /// Where peers will reach this member.
    #[arg(long, default_value = "http://localhost:2380", value_delimiter = ',')]
    pub(crate) initial_advertise_peer_urls: Vec<String>,
    /// Takes a copy of a member's own database, which has no checksum.
    #[arg(long)]
    pub(crate) skip_hash_check: bool,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Snapshot(SnapshotCommand::Status(args)) => status(args),
        Command::Snapshot(SnapshotCommand::Restore(args)) => restore(args),
        Command::Defrag(args) => defrag(&args.data_dir)
            .map_err(|why| format!("Failed to defragment etcd data[{}] ({why})", args.data_dir)),
        Command::Hashkv(args) => hash_kv(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("Error: {why}");
            ExitCode::from(exit::VIOLATION)
        }
    }
}

/// What `snapshot status` prints, of the columns and in the formats of etcdutl.
fn status(args: &StatusArgs) -> Result<(), String> {
    print!("{}", status_text(&args.file, args.write_out)?);
    Ok(())
}

pub(crate) fn status_text(file: &Path, format: Format) -> Result<String, String> {
    let found = snapshot::status(file, false)?;
    let (hash, revision, keys, bytes) = (found.hash, found.revision, found.keys, found.bytes);
    let size = human_bytes(bytes);
    Ok(match format {
        Format::Simple => format!("{hash:x}, {revision}, {keys}, {size}\n"),
        Format::Json => {
            format!("{{\"hash\":{hash},\"revision\":{revision},\"totalKey\":{keys},\"totalSize\":{bytes}}}\n")
        }
        Format::Fields => {
            format!("\"Hash\" : {hash}\n\"Revision\" : {revision}\n\"Keys\" : {keys}\n\"Size\" : {bytes}\n")
        }
        Format::Table => {
            let heads = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"];
            one_row(&heads, &[format!("{hash:x}"), revision.to_string(), keys.to_string(), size])
        }
    })
}

fn one_row(heads: &[&str], cells: &[String]) -> String {
    {
        let width: Vec<usize> =
            heads.iter().zip(cells).map(|(head, cell)| head.len().max(cell.len()) + 2).collect();
        let rule: String = width.iter().map(|width| format!("+{}", "-".repeat(*width))).collect();
        let head: String = heads
            .iter()
            .zip(&width)
            .map(|(text, width)| format!("|{text:^width$}", width = *width))
            .collect();
        let row: String = cells
            .iter()
            .zip(&width)
            .map(|(text, width)| format!("|{:>width$} ", text, width = *width - 1))
            .collect();
        format!("{rule}+\n{head}|\n{rule}+\n{row}|\n{rule}+\n")
    }
}

/// Does something with a data folder that no member uses.
fn with_folder<T>(data_dir: &str, work: impl FnOnce(&RealDisk) -> Result<T, String>) -> Result<T, String> {
    if !Path::new(data_dir).join("identity").exists() {
        return Err(format!(
            "{data_dir:?} is no data folder of a member\nhint: name the folder that was the member's --data-dir"
        ));
    }
    // The world wants a runtime, even where only its disk is used.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| format!("the runtime cannot start: {error}"))?;
    let disk = RealWorld::on(runtime.handle().clone())
        .disk(data_dir)
        .map_err(|error| format!("{data_dir}: {error}"))?;
    let _lock = seatrial_node::lock_folder(&disk).map_err(|error| {
        format!("{data_dir:?} cannot be taken: {error}\nhint: stop the member that uses it first")
    })?;
    work(&disk)
}

type RealDisk = <RealWorld as World>::Disk;

/// Writes the store's file of a stopped member anew.
pub(crate) fn defrag(data_dir: &str) -> Result<(), String> {
    with_folder(data_dir, |disk| {
        let (before, after) = seatrial_node::defragment(disk, RedbOptions::default())
            .map_err(|error| format!("{data_dir}: {error}"))?;
        eprintln!(
            "wrote the store in {data_dir} anew: {} became {}",
            human_bytes(before),
            human_bytes(after)
        );
        Ok(())
    })
}

fn hash_kv(args: &HashKvArgs) -> Result<(), String> {
    let data_dir = args.folder.as_ref().or(args.data_dir.as_ref()).expect("one of them is required");
    let revision = Revision(args.rev);
    let found = with_folder(data_dir, |disk| {
        seatrial_node::hash_kv(disk, RedbOptions::default(), revision)
            .map_err(|error| format!("{data_dir}: {error}"))
    })?;
    let (hash, at, compacted) = (found.hash, found.hash_revision, found.compact_revision);
    print!(
        "{}",
        match args.write_out {
            Format::Simple => format!("{hash}, {at}, {compacted}\n"),
            Format::Json => {
                format!("{{\"hash\":{hash},\"hashRevision\":{at},\"compactRevision\":{compacted}}}\n")
            }
            Format::Fields => {
                format!("\"Hash\" : {hash}\n\"Hash revision\" : {at}\n\"Compact revision\" : {compacted}\n")
            }
            Format::Table => {
                let cells = [hash.to_string(), at.to_string(), compacted.to_string()];
                one_row(&["HASH", "HASH REVISION", "COMPACT REVISION"], &cells)
            }
        }
    );
    Ok(())
}

pub(crate) fn restore(args: &RestoreArgs) -> Result<(), String> {
    let members = crate::server::named_urls(&args.initial_cluster)
        .map_err(|error| format!("--initial-cluster: {error}"))?;
    let named = members.iter().map(|(name, urls)| (name.as_str(), urls.clone()));
    // Another cluster than the one that was saved, so that members of both never talk to each other.
    let token = format!("{} restored", args.initial_cluster_token);
    let cluster = Cluster::bootstrap(named, &token).map_err(|error| format!("--initial-cluster: {error}"))?;
    let id = cluster.id_of(&args.name).map_err(|error| format!("--initial-cluster: {error}"))?;
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort();
        urls
    };
    if sorted(&cluster.members[&id].peer_urls) != sorted(&args.initial_advertise_peer_urls) {
        return Err(format!(
            "--initial-cluster has {} for {:?}, --initial-advertise-peer-urls says {}\nhint: both must be the same",
            cluster.members[&id].peer_urls.join(","),
            args.name,
            args.initial_advertise_peer_urls.join(",")
        ));
    }
    let data_dir = args.data_dir.clone().unwrap_or_else(|| format!("{}.etcd", args.name));
    if Path::new(&data_dir).exists() {
        return Err(format!("data-dir {data_dir:?} exists\nhint: name a folder that is not there yet"));
    }
    // Read through once before anything is made: a damaged file leaves nothing behind.
    snapshot::status(&args.file, !args.skip_hash_check)?;
    let mut source = snapshot::open(&args.file, false)?;
    // The world wants a runtime, even where only its disk is used.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| format!("the runtime cannot start: {error}"))?;
    let disk = RealWorld::on(runtime.handle().clone())
        .disk(&data_dir)
        .map_err(|error| format!("{data_dir}: {error}"))?;
    let stream = |to: &mut dyn FnMut(bytes::Bytes) -> std::io::Result<()>| {
        source.stream(to).map(drop).map_err(std::io::Error::other)
    };
    let header = seatrial_node::restore(&disk, RedbOptions::default(), &cluster, id, stream)
        .map_err(|error| format!("{data_dir}: {error}"))?;
    println!(
        "restored revision {} into {data_dir}, for member {:x} of cluster {:x}",
        header.revision, id.0, cluster.id.0
    );
    Ok(())
}
