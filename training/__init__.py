"""Scripts that make model bundles from labelled runs. They import the product; the product never imports them."""
