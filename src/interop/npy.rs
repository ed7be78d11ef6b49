//! Arrays of numpy: `.npy` files (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use std::fs;
use std::path::Path;

use super::onnx::{Element, Values};
use crate::atomic;
use crate::error::{Error, Result};
use crate::tensor::{Array, Shape};

const MAGIC: &[u8] = b"\x93NUMPY";

/// numpy's names of element types, without the byte order.
const TYPES: [(&str, Element); 13] = [
    ("f4", Element::Float),
    ("f8", Element::Double),
    ("f2", Element::Float16),
    ("i1", Element::Int8),
    ("i2", Element::Int16),
    ("i4", Element::Int32),
    ("i8", Element::Int64),
    ("u1", Element::Uint8),
    ("u2", Element::Uint16),
    ("u4", Element::Uint32),
    ("u8", Element::Uint64),
    ("b1", Element::Bool),
    // As ml_dtypes, which gives numpy this type, has it in files.
    ("V2", Element::Bfloat16),
];

/// Reads an array.
///
/// Errors: if the file cannot be read, is damaged, or holds something other than numbers in C order.
pub fn read(path: impl AsRef<Path>) -> Result<Values> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    parse(&bytes).map_err(|message| Error::format(path, format!("is no array of numpy that can be read: {message}")))
}

/// The array in the bytes of a file.
///
/// Errors: as [`read`], as text.
pub fn parse(bytes: &[u8]) -> Result<Values, String> {
    let short = || "it is cut off".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin like one")?;
    let (version, rest) = rest.split_at_checked(2).ok_or_else(short)?;
    let (length, rest) = match version[0] {
        1 => rest.split_at_checked(2).map(|(n, rest)| (usize::from(u16::from_le_bytes([n[0], n[1]])), rest)),
        _ => rest.split_at_checked(4).map(|(n, rest)| (u32::from_le_bytes([n[0], n[1], n[2], n[3]]) as usize, rest)),
    }
    .ok_or_else(short)?;
    let (header, data) = rest.split_at_checked(length).ok_or_else(short)?;
    let header = String::from_utf8_lossy(header);
    let field = |key: &str| header.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
    let kind =
        field("descr").and_then(|f| f.strip_prefix('\'')).and_then(|f| f.split_once('\'')).ok_or("it tells no type")?.0;
    let element = TYPES.iter().find(|(name, _)| kind.trim_start_matches(['<', '|', '=']) == *name);
    let element = element.ok_or_else(|| format!("type \"{kind}\" is not supported"))?.1;
    if !field("fortran_order").is_some_and(|f| f.starts_with("False")) {
        return Err("it is in Fortran order: save numpy.ascontiguousarray of it".into());
    }
    let shape =
        field("shape").and_then(|f| f.strip_prefix('(')).and_then(|f| f.split_once(')')).ok_or("it tells no shape")?.0;
    let extents = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
    let dims = extents
        .map(|s| s.parse::<usize>().map_err(|_| format!("\"{s}\" is no extent")))
        .collect::<Result<Vec<_>, _>>()?;
    let bytes = dims.iter().try_fold(element.size(), |n, &d| n.checked_mul(d));
    if bytes != Some(data.len()) {
        return Err(format!("{} bytes do not make shape ({shape})", data.len()));
    }
    Ok(Values { element, array: Array { shape: Shape::from(dims), data: element.read(data) } })
}

/// Writes an array.
///
/// Errors: if it cannot be written, or numpy has no such type.
pub fn write(path: impl AsRef<Path>, values: &Values) -> Result<()> {
    let path = path.as_ref();
    let kind = TYPES.iter().find(|(_, element)| *element == values.element);
    let unknown = || Error::format(path, format!("numpy has no type {}", values.element.name()));
    let (kind, _) = kind.ok_or_else(unknown)?;
    let order = if values.element.size() == 1 { '|' } else { '<' };
    let data = values.element.write(&values.array.data);
    write_bytes(path, &format!("{order}{kind}"), values.array.shape.dims(), &data)
}

/// Writes an array of f32.
///
/// Errors: if it cannot be written.
pub fn write_f32(path: impl AsRef<Path>, dims: &[usize], values: &[f32]) -> Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    write_bytes(path.as_ref(), "<f4", dims, &bytes)
}

fn write_bytes(path: &Path, kind: &str, dims: &[usize], data: &[u8]) -> Result<()> {
    let extents: String = dims.iter().map(|d| format!("{d}, ")).collect();
    let extents = if dims.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({extents}), }}");
    // Data begins at a multiple of 64 bytes.
    let padding = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - (MAGIC.len() + 4 + header.len() + 1);
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    let bytes = [MAGIC, &[1, 0], &length, header.as_bytes(), data].concat();
    atomic::write(path, &bytes).map_err(|e| Error::io("write", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_survive_a_file() {
        let folder = tempfile::tempdir().unwrap();
        for (element, dims) in [
            (Element::Float, vec![2, 3]),
            (Element::Int64, vec![6]),
            (Element::Bool, vec![]),
            (Element::Uint8, vec![0, 4]),
        ] {
            let path = folder.path().join("array.npy");
            let n: usize = dims.iter().product();
            let data = (0..n).map(|i| f64::from(u8::from(i % 2 == 0))).collect();
            let values = Values { element, array: Array { shape: dims.into(), data } };
            write(&path, &values).unwrap();
            assert_eq!(fs::read(&path).unwrap().len() % 64, values.array.data.len() * element.size() % 64);
            assert_eq!(read(&path).unwrap(), values);
        }
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("array.npy");
        write(&path, &Values { element: Element::Float, array: Array::zeros(&[3, 2].into()) }).unwrap();
        let bytes = fs::read(&path).unwrap();
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "{end}");
        }
        let text = |from: &str, to: &str| {
            let mut changed = bytes.clone();
            let at = changed.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            changed.splice(at..at + from.len(), to.bytes());
            parse(&changed).unwrap_err()
        };
        assert!(text("(3, 2)", "(9, 9)").contains("24 bytes"));
        assert!(text("<f4", ">f4").contains("not supported"));
        assert!(text("False", "True ").contains("Fortran"));
    }
}
