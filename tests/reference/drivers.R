# The numbers of tests/funnel/test_drivers.py that come from R:   Rscript tests/reference/drivers.R
# Made with R 4.2.2 and metafor 3.8-1 (Debian packages r-base-core, r-cran-metafor). Data: three made-up strata, users who went on and all users, with and without.
library(metafor)
with_on <- c(40, 12, 9); with_n <- c(100, 60, 15); without_on <- c(90, 70, 100); without_n <- c(300, 400, 210)
fit <- rma.mh(ai = with_on, n1i = with_n, ci = without_on, n2i = without_n, measure = "RD", digits = 12)
cat(sprintf("difference %.12f, interval %.12f to %.12f\n", fit$beta, fit$ci.lb, fit$ci.ub))
both <- array(rbind(with_on, with_n - with_on, without_on, without_n - without_on), c(2, 2, 3))
cat(sprintf("Cochran-Mantel-Haenszel p %.12f\n", mantelhaen.test(both, correct = FALSE)$p.value))
