use half::{bf16, f16};

/// Element type of an ONNX tensor. Values are handled as f64, which holds all of them but 64-bit integers beyond 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are ONNX's")]
pub enum Element {
    Float,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    Bool,
    Float16,
    Double,
    Uint32,
    Uint64,
    Bfloat16,
}

use Element as E;

/// Code in the file, name (numpy's where there is one), bytes.
const TABLE: [(Element, i32, &str, usize); 13] = [
    (E::Float, 1, "float32", 4),
    (E::Uint8, 2, "uint8", 1),
    (E::Int8, 3, "int8", 1),
    (E::Uint16, 4, "uint16", 2),
    (E::Int16, 5, "int16", 2),
    (E::Int32, 6, "int32", 4),
    (E::Int64, 7, "int64", 8),
    (E::Bool, 9, "bool", 1),
    (E::Float16, 10, "float16", 2),
    (E::Double, 11, "float64", 8),
    (E::Uint32, 12, "uint32", 4),
    (E::Uint64, 13, "uint64", 8),
    (E::Bfloat16, 16, "bfloat16", 2),
];

impl Element {
    /// The type of that number in a file.
    pub fn from_code(code: i64) -> Option<Self> {
        TABLE.iter().find(|row| i64::from(row.1) == code).map(|row| row.0)
    }

    fn row(self) -> &'static (Self, i32, &'static str, usize) {
        &TABLE[self as usize]
    }

    /// Its number in a file.
    pub fn code(self) -> i32 {
        self.row().1
    }

    /// Its name, numpy's where there is one.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        self.row().3
    }

    /// Whether it has fractions.
    pub fn is_float(self) -> bool {
        matches!(self, E::Float | E::Double | E::Float16 | E::Bfloat16)
    }

    /// Whether f32 holds every value, so that devices may compute with it.
    pub fn fits_device(self) -> bool {
        !matches!(self, E::Double | E::Int32 | E::Int64 | E::Uint32 | E::Uint64)
    }

    /// The value as the type holds it: rounded, or cut off and wrapped around.
    pub fn hold(self, x: f64) -> f64 {
        match self {
            E::Float => f64::from(x as f32),
            E::Double => x,
            E::Float16 => f64::from(f16::from_f64(x)),
            E::Bfloat16 => f64::from(bf16::from_f64(x)),
            E::Bool => f64::from(u8::from(x != 0.0)),
            E::Int64 => x.trunc() as i64 as f64,
            E::Uint64 if x >= 0.0 => x.trunc() as u64 as f64,
            E::Uint64 => (x.trunc() as i64 as u64) as f64,
            E::Uint8 => f64::from(x.trunc() as i64 as u8),
            E::Int8 => f64::from(x.trunc() as i64 as i8),
            E::Uint16 => f64::from(x.trunc() as i64 as u16),
            E::Int16 => f64::from(x.trunc() as i64 as i16),
            E::Uint32 => f64::from(x.trunc() as i64 as u32),
            E::Int32 => f64::from(x.trunc() as i64 as i32),
        }
    }

    /// The least and the largest value of a type of whole numbers.
    pub fn range(self) -> (f64, f64) {
        match self {
            E::Uint8 => (0.0, 255.0),
            E::Int8 => (-128.0, 127.0),
            E::Uint16 => (0.0, 65_535.0),
            E::Int16 => (-32_768.0, 32_767.0),
            E::Uint32 => (0.0, f64::from(u32::MAX)),
            E::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            E::Uint64 => (0.0, u64::MAX as f64),
            E::Int64 => (i64::MIN as f64, i64::MAX as f64),
            E::Bool => (0.0, 1.0),
            E::Float | E::Double | E::Float16 | E::Bfloat16 => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// Values from little-endian bytes; what is left over at the end is ignored.
    pub fn read(self, bytes: &[u8]) -> Vec<f64> {
        macro_rules! values {
            ($t:ty) => {
                bytes.chunks_exact(size_of::<$t>()).map(|b| <$t>::from_le_bytes(b.try_into().expect("of that length")))
            };
        }
        match self {
            E::Float => values!(f32).map(f64::from).collect(),
            E::Double => values!(f64).collect(),
            E::Float16 => values!(f16).map(f64::from).collect(),
            E::Bfloat16 => values!(bf16).map(f64::from).collect(),
            E::Bool => bytes.iter().map(|&b| f64::from(u8::from(b != 0))).collect(),
            E::Uint8 => bytes.iter().map(|&b| f64::from(b)).collect(),
            E::Int8 => values!(i8).map(f64::from).collect(),
            E::Uint16 => values!(u16).map(f64::from).collect(),
            E::Int16 => values!(i16).map(f64::from).collect(),
            E::Uint32 => values!(u32).map(f64::from).collect(),
            E::Int32 => values!(i32).map(f64::from).collect(),
            E::Uint64 => values!(u64).map(|x| x as f64).collect(),
            E::Int64 => values!(i64).map(|x| x as f64).collect(),
        }
    }

    /// Values as little-endian bytes.
    pub fn write(self, values: &[f64]) -> Vec<u8> {
        macro_rules! bytes {
            ($f:expr) => {
                values.iter().copied().map($f).flat_map(|x| x.to_le_bytes()).collect()
            };
        }
        match self {
            E::Float => bytes!(|x| x as f32),
            E::Double => bytes!(|x| x),
            E::Float16 => bytes!(f16::from_f64),
            E::Bfloat16 => bytes!(bf16::from_f64),
            E::Bool | E::Uint8 => bytes!(|x| x as u8),
            E::Int8 => bytes!(|x| x as i8),
            E::Uint16 => bytes!(|x| x as u16),
            E::Int16 => bytes!(|x| x as i16),
            E::Uint32 => bytes!(|x| x as u32),
            E::Int32 => bytes!(|x| x as i32),
            E::Uint64 => bytes!(|x| x as u64),
            E::Int64 => bytes!(|x| x as i64),
        }
    }
}
