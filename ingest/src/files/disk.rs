//! Bytes from a disk, digested while they are read.
//!
//! Decompressors report a failing disk and damaged data alike; the disk keeps its own failure, so
//! that the two are told apart.

use schemas::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file being read. Clones read on together.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<Inner>>);

struct Inner {
    file: Box<dyn Read + Send>,
    digest: Sha256,
    failure: Option<io::Error>,
}

impl Disk {
    pub fn new(file: impl Read + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inner { file: Box::new(file), digest: Sha256::new(), failure: None })))
    }

    /// The disk's own failure, if it had one since the last call.
    pub fn failure(&self) -> Option<io::Error> {
        self.lock().failure.take()
    }

    /// Reads what is left and says what the whole was.
    pub fn finish(&mut self) -> io::Result<Sha256Digest> {
        io::copy(self, &mut io::sink())?;
        Ok(Sha256Digest::from_bytes(self.lock().digest.clone().finalize().into()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Disk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.lock();
        match inner.file.read(buffer) {
            Ok(read) => {
                inner.digest.update(&buffer[..read]);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                inner.failure = Some(io::Error::new(error.kind(), error.to_string()));
                Err(error)
            }
        }
    }
}
