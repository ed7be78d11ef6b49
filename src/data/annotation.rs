use super::Mask;

/// What is known of a picture besides its class. A place is given in shares of the picture's width and height, so that it
/// holds at any size.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Annotation {
    /// Nothing.
    #[default]
    None,
    /// The class of each pixel.
    Mask(Mask),
    /// Where things are.
    Boxes(Vec<BoundingBox>),
    /// What is written there.
    Text(String),
}

/// Where a thing is, and what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundingBox {
    /// Index into the data set's classes.
    pub class: usize,
    /// `[left, top, right, bottom]` as shares of the picture's width and height, from 0 to 1.
    pub corners: [f32; 4],
    /// Whether it counts neither for nor against a detector that finds it: "difficult" in VOC, "iscrowd" in COCO.
    pub ignored: bool,
}

impl BoundingBox {
    /// Share of the picture that it covers; 0 for one without width or height.
    pub fn area(&self) -> f32 {
        let [left, top, right, bottom] = self.corners;
        (right - left).max(0.0) * (bottom - top).max(0.0)
    }
}
