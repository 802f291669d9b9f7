//! Which files may be opened: paths flow in, a thread that Landlock keeps to them is left. What the system itself reads of its own, such as
//! the names of hosts and the limits of its container, may be read always; nothing may be executed.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The paths that a configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    read: BTreeSet<PathBuf>,
    written: BTreeSet<PathBuf>,
}

impl Reach {
    /// A file, or a directory with all that is in it, may be read. Of a file the whole directory may be: a Secret is swapped in a mounted
    /// volume by links beside it.
    pub(crate) fn read(&mut self, path: &Path) {
        let mut place = path.to_owned();
        // What is not there yet may come.
        while !place.is_dir() && place != Path::new(".") && place != Path::new("/") {
            place = directory_of(&place);
        }
        self.read.insert(place);
    }

    /// In this directory, which is made where it is not there, files may come and go.
    pub(crate) fn write(&mut self, directory: &Path) {
        // What fails is told by whoever writes there.
        drop(std::fs::create_dir_all(directory));
        self.written.insert(directory.to_owned());
    }

    /// A socket may be made here, and one that was left behind replaced.
    pub(crate) fn socket(&mut self, path: &Path) {
        self.write(&directory_of(path));
    }
}

/// The directory that a file is in.
fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Keeps this thread, and those that it makes, to these paths.
pub(super) fn confine(reach: &Reach) -> Result<(), String> {
    match restrict(reach) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
        Ok(RulesetStatus::NotEnforced) => Err("the kernel does not know it, or it is not enabled".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn restrict(reach: &Reach) -> Result<RulesetStatus, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    // Files, directories and sockets; no devices, no links to elsewhere.
    let written = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSock;
    let system = SYSTEM.iter().map(Path::new);
    let own = reach.read.iter().map(PathBuf::as_path);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        // Names of sockets (unix(7)) are where the next proxy of the node is met.
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(system.chain(own), read))?
        .add_rules(path_beneath_rules(["/dev/null"], read | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(&reach.written, written))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// What the C library, the kernel and TLS are asked for. A static program finds `getrandom(2)` by no name at run time, so that libraries
/// wait for `/dev/random` and read `/dev/urandom`.
const SYSTEM: [&str; 10] = [
    "/etc",
    "/usr/lib",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/proc",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/dev/random",
    "/dev/urandom",
];

/// Linux 6.12; an older kernel enforces what it knows of it.
const NEWEST: ABI = ABI::V6;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn what_is_named_can_be_used_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        for name in ["named", "other"] {
            fs::create_dir(place(name)).unwrap();
            fs::write(place(name).join("file"), "content").unwrap();
        }
        let mut reach = Reach::default();
        reach.read(&place("named").join("file"));
        reach.write(&place("kept"));
        reach.socket(&place("sockets").join("admin.sock"));
        let directory = directory.path().to_owned();
        let place = move |name: &str| directory.join(name);
        // Of one thread, so that other tests are free.
        std::thread::spawn(move || {
            confine(&reach).unwrap();
            assert_eq!(fs::read_to_string(place("named").join("file")).unwrap(), "content");
            assert!(fs::read_dir(place("named")).is_ok(), "files of a mounted Secret are looked for beside it");
            assert!(fs::write(place("named").join("file"), "changed").is_err());
            assert!(fs::read_to_string(place("other").join("file")).is_err());
            assert!(fs::write(place("other").join("new"), "").is_err());
            fs::write(place("kept").join("new"), "1").unwrap();
            fs::rename(place("kept").join("new"), place("kept").join("newer")).unwrap();
            fs::remove_file(place("kept").join("newer")).unwrap();
            let socket = place("sockets").join("admin.sock");
            drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
            fs::remove_file(&socket).unwrap();
            assert!(fs::read_to_string("/etc/hosts").is_ok());
            for source in ["/dev/random", "/dev/urandom"] {
                assert!(fs::File::open(source).is_ok(), "{source}");
            }
            assert!(Command::new("/bin/true").status().is_err(), "no program can be started");
        })
        .join()
        .unwrap();
        assert_eq!(directory_of(Path::new("file")), Path::new("."));
    }
}
