//! Files that are read where they lie.
#![expect(unsafe_code, reason = "a mapped file is memory that others could change")]

use std::fs::File;
use std::io;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::buffer::Buffer;
use memmap2::Mmap;

/// The bytes of a file that nobody changes while they are used: its name is given once it is complete, and taken away
/// before it is removed. They begin at a page, and are read from disk as they are touched.
///
/// # Errors
///
/// If the file cannot be opened or mapped.
pub fn map_file(path: &Path) -> io::Result<Buffer> {
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        // Nothing cannot be mapped.
        return Ok(Buffer::from_vec(Vec::<u8>::new()));
    }
    // SAFETY: files that are read so are never written again once they have their name, and a file that is removed stays
    // as long as it is mapped.
    let map = Arc::new(unsafe { Mmap::map(&file)? });
    let start = NonNull::from(map.as_ref().as_ref()).cast();
    let bytes = map.len();
    // SAFETY: the map is this long from its start, does not move, and lives as long as the buffer, which owns it.
    Ok(unsafe { Buffer::from_custom_allocation(start, bytes, map) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_stays_when_its_name_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"content").unwrap();
        let bytes = map_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes.slice(3).as_slice(), b"tent");
        std::fs::write(&path, b"").unwrap();
        assert!(map_file(&path).unwrap().is_empty());
        assert!(map_file(&folder.path().join("b")).is_err());
    }
}
