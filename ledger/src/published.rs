//! Heads and hash tiles as they are published, from which anybody makes proofs.
//!
//! It deliberately signs nothing and decides nothing.
//!
//! Invariant: a head is published after the tiles it needs.

use crate::error::LedgerError;
use crate::places;
use crate::store::Location;
use bytes::Bytes;
use proof::head::SignedHead;
use proof::merkle::Tree;
use tlog_tiles::Tile;

/// Levels of the tree in one tile.
const TILE_HEIGHT: u8 = 8;

/// The bytes of the published head, if there is one.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn published(table: &Location) -> Result<Option<Bytes>, LedgerError> {
    places::head(table).read().await
}

/// Publishes a head after the tiles it needs, so that whoever reads a head finds them.
///
/// # Errors
/// When storage fails; publishing again completes it.
pub(crate) async fn publish(table: &Location, tree: &Tree, signed: &SignedHead) -> Result<(), LedgerError> {
    let before = published(table)
        .await?
        .and_then(|note| SignedHead::parse(&note))
        .map_or(0, |published| published.head.size);
    // The head there may be another log's; then everything is written.
    let before = if before <= signed.head.size { before } else { 0 };
    for tile in Tile::new_tiles(TILE_HEIGHT, before, signed.head.size) {
        places::tiles(table).join(&coordinates(&tile)).replace(tile_data(&tile, tree).into()).await?;
    }
    fail::fail_point!("signer.tiles-published");
    places::head(table).replace(signed.note().to_vec().into()).await
}

/// As c2sp.org/tlog-tiles names tiles below their folder: without the height, which is always 8.
fn coordinates(tile: &Tile) -> String {
    tile.path().strip_prefix("tile/8/").expect("tiles are 8 high").to_owned()
}

fn tile_data(tile: &Tile, tree: &Tree) -> Vec<u8> {
    tile.read_data(tree).expect("the tree has the hashes of its own tiles")
}

/// The defects of the tiles of a log whose published head has `size` leaves: each file, and
/// why, as part of a sentence.
///
/// # Errors
/// When they cannot be read.
pub(crate) async fn check_tiles(
    table: &Location,
    tree: &Tree,
    size: u64,
) -> Result<Vec<(Location, String)>, LedgerError> {
    const AGAIN: &str = "remove the folder log and run `atcost sign`, which publishes it again";
    let folder = places::tiles(table);
    let found = folder.list_all().await?;
    let mut wrong = Vec::new();
    for tile in Tile::new_tiles(TILE_HEIGHT, 0, size) {
        let name = coordinates(&tile);
        if !found.contains(&name) {
            let what = format!("the published head needs this tile, and it is not there; {AGAIN}");
            wrong.push((folder.join(&name), what));
        }
    }
    for name in found {
        // Left by a crash while a tile was written; nobody reads it.
        if name.rsplit('/').next().is_some_and(|name| name.starts_with('.')) {
            continue;
        }
        let location = folder.join(&name);
        let tile = Tile::from_path(&format!("tile/8/{name}")).ok().filter(|tile| is_in(tile, tree));
        let Some(tile) = tile else {
            wrong.push((location, format!("this is not a tile of the log; {AGAIN}")));
            continue;
        };
        // It may have been replaced by a larger one meanwhile.
        if let Some(bytes) = location.read().await?
            && bytes != tile_data(&tile, tree)
        {
            wrong.push((location, format!("the tile does not hold the hashes of the records; {AGAIN}")));
        }
    }
    wrong.sort();
    Ok(wrong)
}

/// Whether the tree has all hashes of a tile.
fn is_in(tile: &Tile, tree: &Tree) -> bool {
    let size = tree.leaves().len() as u64;
    let level = u32::from(tile.level()) * u32::from(TILE_HEIGHT);
    let nodes = size.checked_shr(level).unwrap_or_default();
    let end = tile
        .level_index()
        .checked_mul(1 << TILE_HEIGHT)
        .and_then(|start| start.checked_add(u64::from(tile.width())));
    !tile.is_data() && tile.width() > 0 && end.is_some_and(|end| end <= nodes)
}
