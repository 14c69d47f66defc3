# The numbers of tests/test_activation.py that come from R:   Rscript tests/reference/activation.R
# Made with R 4.2.2 and survival 3.5-3 (Debian packages r-base-core, r-cran-survival). Data: aml and lung, which survival brings along.
library(survival)
d <- data.frame(t = lung$time, s = lung$status - 1, x = as.integer(lung$sex == 1))  # men against women
for (width in c(1, 7, 28)) {  # days, weeks, months of four weeks: few and many ties
  w <- transform(d, t = width * (t %/% width))
  f <- coxph(Surv(t, s) ~ x, data = w, control = coxph.control(eps = 1e-12, toler.chol = 1e-13))
  cat(sprintf("lung, width %d: coef %.10f se %.10f cox.zph p %.10f log-rank chisq %.10f\n", width, coef(f), sqrt(vcov(f)[1, 1]),
              cox.zph(f, transform = "km")$table[1, 3], survdiff(Surv(t, s) ~ x, data = w)$chisq))
}
print(survfit(Surv(t, s) ~ x, data = d, conf.type = "log-log"))
print(summary(survfit(Surv(t, s) ~ x, data = d), rmean = 365)$table[, c("rmean", "se(rmean)")], digits = 12)
print(survfit(Surv(time, status) ~ x, data = aml, conf.type = "log-log"))
print(survdiff(Surv(time, status) ~ x, data = aml)$chisq, digits = 12)
event <- aml$status
event[aml$status == 1 & seq_len(23) %% 3 == 0] <- 2  # every third row's relapse read as an exit
fit <- survfit(Surv(time, factor(event, 0:2, c("censored", "activated", "exit"))) ~ x, data = aml)
print(summary(fit, times = c(10, 20, 40))$pstate, digits = 12)
print(summary(fit, rmean = 40)$table, digits = 12)
