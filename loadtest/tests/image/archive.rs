//! An image in the form of the OCI: a folder that `scripts/image` wrote flows in, its configuration and its files flow out. Every
//! digest is checked on the way.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image.
pub(crate) struct Image {
    /// Of its manifest: what it is known by in a registry.
    pub(crate) digest: String,
    pub(crate) config: Value,
    layer: PathBuf,
}

impl Image {
    /// Reads the layout and follows it from the index to the one layer.
    pub(crate) fn read(folder: &Path) -> Self {
        let layout = folder.join("oci");
        let version: Value = serde_json::from_slice(&std::fs::read(layout.join("oci-layout")).unwrap()).unwrap();
        assert_eq!(version["imageLayoutVersion"], "1.0.0");
        let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        let manifests = index["manifests"].as_array().unwrap();
        assert_eq!(manifests.len(), 1);
        let digest = manifests[0]["digest"].as_str().unwrap().to_owned();
        assert_eq!(std::fs::read_to_string(folder.join("digest")).unwrap().trim(), digest);
        let manifest = json(&blob(&layout, &manifests[0]));
        let config = json(&blob(&layout, &manifest["config"]));
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 1);
        Self { digest, config, layer: blob(&layout, &layers[0]) }
    }

    /// Unpacks the files as a container runtime does, with what the file system keeps beside them.
    pub(crate) fn unpack(&self, rootfs: &Path) {
        std::fs::create_dir_all(rootfs).unwrap();
        let mut tar = Command::new("tar");
        tar.args([
            "--extract",
            "--gzip",
            "--xattrs",
            "--xattrs-include=*",
            "--same-owner",
            "--same-permissions",
            "--file",
        ]);
        let output = tar.arg(&self.layer).arg("--directory").arg(rootfs).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The file of a descriptor, whose bytes are what it says.
fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let path = layout.join("blobs/sha256").join(digest);
    let output = Command::new("sha256sum").arg(&path).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(digest), "{} is damaged", path.display());
    assert_eq!(descriptor["size"].as_u64(), Some(path.metadata().unwrap().len()));
    path
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
