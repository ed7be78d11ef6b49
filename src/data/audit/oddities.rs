use super::{Finding, Seen, extremes, images};

/// Sides of less than this share of the median are told.
const SMALL: usize = 4;
/// Shapes that differ from the median shape by more than this factor are told.
const STRETCHED: f64 = 2.5;
/// Below this share of all, pictures of the other kind of channels are told.
const RARE: f64 = 0.1;

/// Pictures that are unlike the rest by size, shape or channels.
pub(super) fn find(seen: &[Seen]) -> Vec<Finding> {
    let [height, width] = [0, 1].map(|axis| extremes(seen.iter().map(|s| s.look.size[axis]).collect())[1]);
    let typical = width as f64 / height as f64;
    let ratio = |s: &Seen| s.look.size[1] as f64 / s.look.size[0] as f64 / typical;
    let grey = seen.iter().filter(|s| s.look.channels == 1).count() as f64 / seen.len() as f64;
    let rare = if grey < RARE { 1 } else { 3 };
    let few = !(RARE..=1.0 - RARE).contains(&grey);
    let kind = if rare == 1 { "grey among colour" } else { "colour among grey" };
    let small = format!("smaller than a quarter of the usual {width}x{height} pixels");
    let size = |s: &Seen| format!("{} ({}x{})", s.name, s.look.size[1], s.look.size[0]);
    let name = |s: &Seen| s.name.clone();
    let told = |what: &str, is: &dyn Fn(&Seen) -> bool, tell: &dyn Fn(&Seen) -> String| {
        let items: Vec<String> = seen.iter().filter(|s| is(s)).map(tell).collect();
        let verb = if items.len() == 1 { "is" } else { "are" };
        (!items.is_empty()).then(|| Finding::minor(format!("{} {verb} {what}", images(items.len())), items))
    };
    let findings = [
        told("of a single colour", &|s| s.look.blank, &name),
        told(&small, &|s| SMALL * s.look.size[0] < height || SMALL * s.look.size[1] < width, &size),
        told("much wider or higher than the others", &|s| ratio(s).max(1.0 / ratio(s)) > STRETCHED, &size),
        told(kind, &|s| few && s.look.channels == rare, &name),
    ];
    findings.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Image, Look};
    use super::*;

    fn seen(size: [usize; 2], channels: usize, pixel: impl Fn(usize) -> u8) -> Seen {
        let pixels = (0..size[0] * size[1] * channels).map(pixel).collect();
        Seen { look: Look::at(Image { size, channels, pixels }), part: 0, class: "it".into(), name: "it.png".into() }
    }

    fn titles(odd: Seen) -> Vec<String> {
        let mut all: Vec<Seen> = (0..20).map(|i| seen([48, 64], 3, move |at| (at * (i + 3)) as u8)).collect();
        all.push(odd);
        find(&all).into_iter().map(|f| f.title).collect()
    }

    #[test]
    fn each_kind_is_told_by_itself() {
        let noise = |at: usize| (at * 37) as u8;
        assert_eq!(titles(seen([48, 64], 3, noise)), [""; 0]);
        assert_eq!(titles(seen([48, 64], 3, |_| 9)), ["1 image is of a single colour"]);
        assert_eq!(titles(seen([11, 15], 3, noise)), ["1 image is smaller than a quarter of the usual 64x48 pixels"]);
        assert_eq!(titles(seen([20, 100], 3, noise)), ["1 image is much wider or higher than the others"]);
        assert_eq!(titles(seen([48, 64], 1, noise)), ["1 image is grey among colour"]);
    }
}
