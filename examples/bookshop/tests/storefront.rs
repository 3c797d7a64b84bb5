//! The page shows what matters first, and goes on when a neighbour does not.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod common;

use common::{catalog, nowhere, orders, payments, recommendations, storefront};

#[test]
fn the_first_page_brings_the_books_and_asks_for_the_rest_later() {
    let catalog = catalog();
    let shop = storefront(&catalog.url(), &nowhere(), &nowhere());
    let page = shop.get("/");
    assert_eq!(page.status, 200, "it does not wait for orders or recommendations");
    assert!(page.headers["content-type"].starts_with("text/html"));
    assert!(page.body.contains("Moby-Dick; or, The Whale") && page.body.contains("€11.90"));
    assert!(page.body.contains(r#"data-fragment="/fragments/recommendations?book="#));
    assert!(page.body.contains(r#"data-fragment="/fragments/orders""#));

    let found = shop.get("/?q=fog").body;
    assert!(found.contains("A Short History of Fog") && !found.contains("Moby-Dick"));
    let hostile = shop.get("/?q=%3Cscript%3Ealert(1)").body;
    assert!(hostile.contains("&lt;script&gt;alert(1)"), "what a customer types stays text");
}

#[test]
fn recommendations_are_what_others_bought() {
    let catalog = catalog();
    let recommendations = recommendations(&catalog, &[]);
    let answer = recommendations.get("/recommendations/moby-dick").json();
    assert_eq!(answer["books"][0]["id"], "knots-for-the-nervous", "in two baskets: {answer}");

    let shop = storefront(&catalog.url(), &nowhere(), &recommendations.url());
    let piece = shop.get("/fragments/recommendations?book=moby-dick").body;
    assert!(piece.contains("Readers also bought") && piece.contains("Knots for the Nervous"), "{piece}");
}

#[test]
fn popular_books_are_shown_as_what_they_are() {
    let catalog = catalog();
    // As with the fallback of `atoll.yaml`: the catalog answers in the stead of recommendations.
    let stand_in = format!("{}/popular?instead-of=", catalog.url());
    let shop = storefront(&catalog.url(), &nowhere(), &stand_in);
    let piece = shop.get("/fragments/recommendations?book=moby-dick");
    assert_eq!(piece.status, 200);
    assert!(piece.body.contains("Popular right now") && piece.body.contains("Tide Tables"), "{piece:?}");
    assert!(piece.body.contains("taking a break"), "it says so, quietly");
    shop.line_with("showing popular books instead");
}

#[test]
fn the_page_does_without_recommendations_that_fail_are_slow_or_are_gone() {
    let catalog = catalog();
    let failing = recommendations(&catalog, &[("FAIL_SHARE", "1".to_owned())]);
    let slow = recommendations(&catalog, &[("SLOW_MS", "5000".to_owned())]);
    for (place, why) in [(failing.url(), "500"), (slow.url(), "400ms"), (nowhere(), "onnect")] {
        let shop = storefront(&catalog.url(), &nowhere(), &place);
        assert_eq!(shop.get("/fragments/recommendations?book=moby-dick").status, 503);
        assert!(shop.line_with("call to recommendations failed").contains(why));
    }
    let well = recommendations(&catalog, &[]);
    let shop = storefront(&catalog.url(), &nowhere(), &well.url());
    assert_eq!(shop.get("/fragments/recommendations?book=nothing").status, 404);
}

#[test]
fn a_book_can_be_ordered_without_javascript_and_twice_is_once() {
    let (catalog, payments) = (catalog(), payments());
    let orders = orders(&catalog.url(), &payments.url());
    let shop = storefront(&catalog.url(), &orders.url(), &nowhere());

    let page = shop.get("/shop/books/walden").body;
    let key = page.split(r#"name="key" value=""#).nth(1).unwrap().split('"').next().unwrap();
    assert!(page.contains(r#"<form action="/shop/orders" method="post">"#));

    let form = format!("book_id=walden&quantity=2&customer=Ada+L&key={key}");
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let first = shop.send("POST", "/shop/orders", &kind, &form);
    assert_eq!(first.status, 303, "{first:?}");
    let thanks = shop.get(&first.headers["location"]);
    assert!(thanks.body.contains("2 × Walden; or, Life in the Woods, €17.00"), "{}", thanks.body);
    assert!(thanks.body.contains("It is about to be settled."), "nobody can say: {}", thanks.body);

    let second = shop.send("POST", "/shop/orders", &kind, &form);
    assert_eq!(second.headers["location"], first.headers["location"]);
    let sold = shop.get("/fragments/orders").body;
    assert_eq!(sold.matches("<li>2 × Walden").count(), 1, "{sold}");
    assert!(!sold.contains("Ada"), "who bought is not shown to others");

    let too_much = "book_id=the-atoll-atlas&quantity=9&customer=Ada&key=k2";
    let declined = shop.send("POST", "/shop/orders", &kind, too_much);
    assert_eq!(declined.status, 402);
    assert!(declined.body.contains("more than this card allows"));
}

#[test]
fn without_a_catalog_the_shop_says_sorry_and_stays_up() {
    let shop = storefront(&nowhere(), &nowhere(), &nowhere());
    let page = shop.get("/");
    assert_eq!(page.status, 503);
    assert!(page.body.contains("Our shelves cannot be shown") && !page.body.contains("127.0.0.1"));
    assert_eq!(shop.get("/fragments/orders").status, 503);
    assert_eq!(shop.get("/healthz").status, 200);
}

#[test]
fn an_unknown_book_is_a_page_that_says_so() {
    let catalog = catalog();
    let shop = storefront(&catalog.url(), &nowhere(), &nowhere());
    let page = shop.get("/shop/books/nothing");
    assert_eq!(page.status, 404);
    assert!(page.body.contains("there is no book `nothing`"));
}
