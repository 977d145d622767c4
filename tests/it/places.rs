//! Where a test keeps a ledger: on this machine's disk, and in memory, through the same code.

use ledger::Location;
use ledger::store::Store;
use std::path::Path;
use tempfile::TempDir;

/// A place of its own, gone with this value.
pub struct Place {
    pub at: Location,
    _folder: Option<TempDir>,
}

/// On the disk, and in memory.
pub fn everywhere() -> [Place; 2] {
    [on_disk(), Place { at: Store::memory().at("somewhere"), _folder: None }]
}

/// On the disk alone: the test starts a program, or does to files what only a disk does.
pub fn on_disk() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    Place { at: place(folder.path()), _folder: Some(folder) }
}

/// A folder or a file of this machine.
pub fn place(path: &Path) -> Location {
    Location::on_disk(path).expect("a path is a place")
}

/// The bytes of an object that must be there.
pub async fn read(location: &Location) -> Vec<u8> {
    location
        .read()
        .await
        .expect("it can be read")
        .unwrap_or_else(|| panic!("{location} is not there"))
        .to_vec()
}

/// Overwrites an object, as an accident or another program does it.
pub async fn write(location: &Location, bytes: impl Into<Vec<u8>>) {
    location.replace(bytes.into().into()).await.expect("it can be written");
    if let Some(path) = location.disk_path()
        && location.name().ends_with(".key")
    {
        use std::os::unix::fs::PermissionsExt as _;
        let owner_alone = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, owner_alone).expect("a mode");
    }
}

/// Every object below a folder, and its bytes.
pub async fn everything(folder: &Location) -> Vec<(Location, Vec<u8>)> {
    let mut found = Vec::new();
    for name in folder.list_all().await.expect("it can be listed") {
        let location = folder.join(&name);
        let bytes = read(&location).await;
        found.push((location, bytes));
    }
    found
}

/// Removes every object below a folder.
pub async fn remove_all(folder: &Location) {
    for name in folder.list_all().await.expect("it can be listed") {
        folder.join(&name).remove().await.expect("it can be removed");
    }
}

/// Makes a folder hold exactly these objects.
pub async fn put_back(folder: &Location, objects: &[(Location, Vec<u8>)]) {
    remove_all(folder).await;
    for (location, bytes) in objects {
        write(location, bytes.clone()).await;
    }
}
