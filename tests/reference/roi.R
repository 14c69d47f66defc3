# The numbers of tests/roi/test_estimators.py and tests/roi/test_experiment.py that come from R:   Rscript tests/reference/roi.R
# Made with R 4.2.2 (Debian package r-base-core), base packages only. Data: LakeHuron, mtcars and sleep, which R brings along.

# Regression with AR(1) errors by REML, the whole covariance matrix written out: lake Huron with a change of level and slope in 1900.
year <- as.numeric(time(LakeHuron)) - 1900
y <- as.numeric(LakeHuron)
x <- cbind(1, year, year >= 0, year * (year >= 0))
reml <- function(rho) {
  v <- rho^abs(outer(year, year, "-"))
  vi <- solve(v)
  b <- solve(t(x) %*% vi %*% x, t(x) %*% vi %*% y)
  rss <- sum((y - x %*% b) * (vi %*% (y - x %*% b)))
  c(determinant(v)$modulus + determinant(t(x) %*% vi %*% x)$modulus + (length(y) - 4) * log(rss), b, sqrt(diag(rss / (length(y) - 4) * solve(t(x) %*% vi %*% x))))
}
rho <- optimize(function(r) reml(r)[1], c(0, 0.95), tol = 1e-9)$minimum
cat("huron:", sprintf("%.6f", c(rho, reml(rho)[-1])), "\n")

# Lin's estimator with HC2 errors: miles per gallon of manual against automatic cars, adjusted for cylinders.
d <- transform(mtcars, z = cyl - mean(cyl))
f <- lm(mpg ~ am * z, data = d)
m <- model.matrix(f)
inv <- solve(crossprod(m))
hc2 <- inv %*% crossprod(m * (residuals(f) / sqrt(1 - hatvalues(f)))) %*% inv
cat("lin:", sprintf("%.8f", c(coef(f)["am"], sqrt(hc2[2, 2]))), "\n")

# Welch's test: two drugs, sleep as change of each unit.
w <- t.test(extra ~ group, data = sleep)
cat("welch:", sprintf("%.8f", c(diff(rev(w$estimate)), w$stderr, w$parameter, w$p.value)), "\n")
