use super::super::element::Element;
use super::writer::{Attribute, Writer};

/// From the bytes of pictures to what the network takes: bit for bit what happens before our own prediction.
pub struct Preprocessing<'a> {
    /// Height, width and channels.
    pub picture: [usize; 3],
    pub mean: &'a [f32],
    pub std: &'a [f32],
}

impl Preprocessing<'_> {
    /// Writes it for bytes `[n, height, width, 3]`; returns the name of f32 `[n, h, w, channels]`.
    pub fn write(&self, w: &mut Writer, images: &str) -> String {
        let [height, width, channels] = self.picture;
        let mut x = w.node("Cast", &[images], &[("to", Attribute::Int(Element::Float.code().into()))]);
        if channels == 1 {
            x = grey(w, &x);
        }
        x = stretch(w, images, &x, 1, height, channels, [height, width]);
        x = stretch(w, images, &x, 2, width, channels, [height, width]);
        let scale: Vec<f64> = self.std.iter().map(|&s| 1.0 / (255.0 * f64::from(s))).collect();
        let shift: Vec<f64> = self.mean.iter().zip(self.std).map(|(&m, &s)| -f64::from(m) / f64::from(s)).collect();
        let (scale, shift) = (w.floats(None, &[channels], &scale), w.floats(None, &[channels], &shift));
        let scaled = w.node("Mul", &[&x, &scale], &[]);
        w.node("Add", &[&scaled, &shift], &[])
    }
}

/// Luma after ITU-R 601 in 65536ths, rounded. Doubles hold the sums exactly.
fn grey(w: &mut Writer, x: &str) -> String {
    let double = w.node("Cast", &[x], &[("to", Attribute::Int(Element::Double.code().into()))]);
    let weights = w.constant(None, Element::Double, &[3, 1], &[19_595.0, 38_470.0, 7_471.0]);
    let sum = w.node("MatMul", &[&double, &weights], &[]);
    let half = w.constant(None, Element::Double, &[], &[32_768.0]);
    let sum = w.node("Add", &[&sum, &half], &[]);
    let whole = w.constant(None, Element::Double, &[], &[65_536.0]);
    let quotient = w.node("Div", &[&sum, &whole], &[]);
    let floor = w.node("Floor", &[&quotient], &[]);
    w.node("Cast", &[&floor], &[("to", Attribute::Int(Element::Float.code().into()))])
}

/// Stretches axis 1 or 2 over `to` positions: the product with a matrix of weights in 256ths that is made from the extent,
/// as the resizer of pictures makes it. Floats hold the sums exactly.
fn stretch(w: &mut Writer, images: &str, x: &str, axis: usize, to: usize, channels: usize, size: [usize; 2]) -> String {
    let weights = triangle(w, images, axis, to);
    let sum = if axis == 1 {
        // Rows: [to, height] times [n, height, width · channels].
        let shape = w.ints(&[0, 0, -1]);
        let rows = w.node("Reshape", &[x, &shape], &[]);
        let mixed = w.node("MatMul", &[&weights, &rows], &[]);
        let shape = w.ints(&[0, size[0] as i64, -1, channels as i64]);
        w.node("Reshape", &[&mixed, &shape], &[])
    } else {
        // Columns: [to, width] times [n, height, width, channels].
        w.node("MatMul", &[&weights, x], &[])
    };
    let half = w.floats(None, &[], &[128.0]);
    let sum = w.node("Add", &[&sum, &half], &[]);
    let share = w.floats(None, &[], &[1.0 / 256.0]);
    let share = w.node("Mul", &[&sum, &share], &[]);
    w.node("Floor", &[&share], &[])
}

/// Weights `[to, from]` in 256ths: heights of a triangle about each position's centre. Their sums are rounded, not they
/// themselves, so that they add up to a whole.
fn triangle(w: &mut Writer, images: &str, axis: usize, to: usize) -> String {
    let double = |w: &mut Writer, x: f64| w.constant(None, Element::Double, &[], &[x]);
    let cast = |w: &mut Writer, x: &str, element: Element| {
        w.node("Cast", &[x], &[("to", Attribute::Int(element.code().into()))])
    };
    let shape = w.node("Shape", &[images], &[]);
    let index = w.constant(None, Element::Int64, &[], &[axis as f64]);
    let from = w.node("Gather", &[&shape, &index], &[("axis", Attribute::Int(0))]);
    let from = cast(w, &from, Element::Double);
    let (zero, one, half, count) = (double(w, 0.0), double(w, 1.0), double(w, 0.5), double(w, to as f64));
    let ratio = w.node("Div", &[&from, &count], &[]);
    let radius = w.node("Max", &[&ratio, &one], &[]);
    let centres: Vec<f64> = (0..to).map(|i| i as f64 + 0.5).collect();
    let centres = w.constant(None, Element::Double, &[to, 1], &centres);
    let centres = w.node("Mul", &[&centres, &ratio], &[]);
    let places = w.node("Range", &[&zero, &from, &one], &[]);
    let places = w.node("Add", &[&places, &half], &[]);
    let distance = w.node("Sub", &[&places, &centres], &[]);
    let distance = w.node("Abs", &[&distance], &[]);
    let distance = w.node("Div", &[&distance, &radius], &[]);
    let height = w.node("Sub", &[&one, &distance], &[]);
    let height = w.node("Max", &[&height, &zero], &[]);
    let last = w.constant(None, Element::Int64, &[], &[1.0]);
    let sums = w.node("CumSum", &[&height, &last], &[]);
    let axes = w.ints(&[1]);
    let total = w.node("ReduceSum", &[&height, &axes], &[]);
    let whole = double(w, 256.0);
    let scaled = w.node("Mul", &[&sums, &whole], &[]);
    let scaled = w.node("Div", &[&scaled, &total], &[]);
    let scaled = w.node("Add", &[&scaled, &half], &[]);
    let rounded = w.node("Floor", &[&scaled], &[]);
    // Differences to the sums before.
    let rounded = cast(w, &rounded, Element::Float);
    let margins = w.ints(&[0, 1, 0, -1]);
    let before = w.node("Pad", &[&rounded, &margins], &[]);
    w.node("Sub", &[&rounded, &before], &[])
}
