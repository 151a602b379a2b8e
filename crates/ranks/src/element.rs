//! Numbers as they go over a stream.

/// A number that ranks add up, little-endian on the way.
pub trait Element: Copy + std::ops::AddAssign {
    /// Its bytes on the way.
    const BYTES: usize;

    /// Writes it into so many bytes.
    fn write(self, bytes: &mut [u8]);

    /// Reads it from so many bytes.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! element {
    ($number:ty) => {
        impl Element for $number {
            const BYTES: usize = size_of::<$number>();

            fn write(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Self {
                let bytes = bytes.try_into().expect("as many bytes as the number has");
                Self::from_le_bytes(bytes)
            }
        }
    };
}

element!(f32);
element!(f64);
