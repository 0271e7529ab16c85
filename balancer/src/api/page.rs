//! Lists in pages. A marker is the key of the last item that was shown, so a list that changes between two pages neither
//! repeats nor skips what was there all the time.

use ecsr_api::elbv2::Error;

use super::check;

/// Most items of a page, and how many it has when the request does not say.
const PAGE_SIZE_MAX: u32 = 400;

/// Which page of a list.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub marker: Option<String>,
    pub size: Option<i32>,
}

/// The items of a page, in the order of their keys, and the marker of the next page if there is one.
pub(super) fn cut<T>(page: Page, items: Vec<(String, T)>) -> Result<(Vec<T>, Option<String>), Error> {
    let size =
        page.size.map_or(Ok(PAGE_SIZE_MAX), |size| check::within(size, "pageSize", 1, PAGE_SIZE_MAX))?;
    let size = usize::try_from(size).expect("a page's size fits");
    let marker = page.marker.unwrap_or_default();
    let mut rest: Vec<_> = items.into_iter().filter(|(key, _)| *key > marker).collect();
    rest.sort_by(|(left, _), (right, _)| left.cmp(right));
    let next = if rest.len() > size { Some(rest[size - 1].0.clone()) } else { None };
    rest.truncate(size);
    Ok((rest.into_iter().map(|(_, item)| item).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_on_one_page() {
        let items = || ["c", "a", "b", "d"].map(|key| (key.to_owned(), key)).to_vec();
        let page =
            |marker: Option<&str>, size| cut(Page { marker: marker.map(str::to_owned), size }, items());
        assert_eq!(page(None, None), Ok((vec!["a", "b", "c", "d"], None)));
        assert_eq!(page(None, Some(3)), Ok((vec!["a", "b", "c"], Some("c".to_owned()))));
        assert_eq!(page(Some("c"), Some(3)), Ok((vec!["d"], None)));
        assert_eq!(page(Some("b"), Some(2)), Ok((vec!["c", "d"], None)));
        assert!(page(None, Some(0)).is_err() && page(None, Some(401)).is_err());
    }
}
