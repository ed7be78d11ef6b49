use std::mem::take;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// What is costly to make, kept for whoever needs one next. There are never more than were in use at once.
#[derive(Debug, Default)]
pub(super) struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    /// One of those that were given back, else a new one.
    pub fn take(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub fn give_back(&self, value: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    }
}

/// The bytes of a batch's images. Dropped, their memory goes back to the loader that they are from, for a batch to come:
/// asking the system for it each time costs as much as decoding some of the images.
#[derive(Debug, Default)]
pub struct Pixels {
    bytes: Vec<u8>,
    home: Option<Arc<Pool<Vec<u8>>>>,
}

impl Pixels {
    /// So many bytes of any value.
    pub(super) fn from_pool(pool: &Arc<Pool<Vec<u8>>>, length: usize) -> Self {
        let mut bytes = pool.take();
        bytes.resize(length, 0);
        Self { bytes, home: Some(pool.clone()) }
    }

    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.give_back(take(&mut self.bytes));
        }
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Clone for Pixels {
    fn clone(&self) -> Self {
        self.bytes.clone().into()
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, home: None }
    }
}

impl FromIterator<u8> for Pixels {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        Vec::from_iter(bytes).into()
    }
}
