# The numbers of tests/activation that come from R:   Rscript tests/reference/activation.R
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
# survRM2 1.0-4 (https://github.com/cran/survRM2, R/rmst1.R, R/rmst2.R, R/rmst2reg.R, R/func_surv.R; not a Debian package: source() the files into this session)
if (exists("rmst2")) for (tau in c(180, 365, 700)) {
  r <- rmst2(d$t, d$s, d$x, tau = tau)
  print(c(tau, r$RMST.arm1$rmst[1:2], r$RMST.arm0$rmst[1:2], r$unadjusted.result[1, 1:3]), digits = 12)
}
print(survfit(Surv(time, status) ~ x, data = aml, conf.type = "log-log"))
print(survdiff(Surv(time, status) ~ x, data = aml)$chisq, digits = 12)
event <- aml$status
event[aml$status == 1 & seq_len(23) %% 3 == 0] <- 2  # every third row's relapse read as an exit
fit <- survfit(Surv(time, factor(event, 0:2, c("censored", "activated", "exit"))) ~ x, data = aml)
print(summary(fit, times = c(10, 20, 40))$pstate, digits = 12)
print(summary(fit, rmean = 40)$table, digits = 12)

# Delayed entry: lung once more, every other row in view from a day of its own on (day 0: from the start)
d$entry <- ifelse(seq_len(nrow(d)) %% 2 == 0, (seq_len(nrow(d)) * 7) %% 120, 0)
late <- subset(d, entry < t)
f <- survfit(Surv(entry, t, s) ~ x, data = late, conf.type = "log-log")
print(summary(f, times = c(60, 180, 360))[c("surv", "std.err", "lower", "upper", "n.risk")], digits = 12)
print(summary(f, rmean = 365)$table[, c("rmean", "se(rmean)")], digits = 12)
f <- coxph(Surv(entry, t, s) ~ x, data = late, control = coxph.control(eps = 1e-12, toler.chol = 1e-13))
cat(sprintf("late: n %d coef %.10f se %.10f cox.zph p %.10f log-rank chisq %.10f\n", f$n, coef(f), sqrt(vcov(f)[1, 1]), cox.zph(f, transform = "km")$table[1, 3],
            coxph(Surv(entry, t, s) ~ x, data = late, ties = "exact")$score))

# Users who share an account: lung's institutions (inst, one row has none: it counts on its own), days and months of four weeks
d$inst <- ifelse(is.na(lung$inst), 1000, lung$inst)
for (width in c(1, 28)) {
  w <- transform(d, t = width * (t %/% width))
  f <- coxph(Surv(t, s) ~ x, data = w, cluster = inst, control = coxph.control(eps = 1e-12, toler.chol = 1e-13))
  cat(sprintf("accounts, width %d: n %d coef %.10f robust se %.10f robust score %.10f\n", width, length(unique(w$inst)), coef(f), sqrt(f$var[1, 1]), f$rscore))
}
f <- survfit(Surv(t, s) ~ x, data = d, cluster = inst, conf.type = "log-log")
print(summary(f, times = c(60, 180, 360))[c("surv", "std.err")], digits = 12)
for (man in 0:1) {  # the mean's error, from R's own influence on the curve, summed by institution
  p <- subset(d, x == man)
  f <- survfit(Surv(t, s) ~ 1, data = p, influence = 1)
  keep <- f$time < 365
  area <- f$influence.surv[, keep] %*% diff(c(f$time[keep], 365))
  cat(sprintf("accounts, sex %d: rmean se %.10f, by institution %.10f\n", man, sqrt(sum(area^2)), sqrt(sum(rowsum(area, p$inst)^2))))
}
both <- lapply(0:1, function(man) {
  p <- subset(d, x == man); f <- survfit(Surv(t, s) ~ 1, data = p, influence = 1); keep <- f$time < 365
  out <- numeric(2000); a <- rowsum(f$influence.surv[, keep] %*% diff(c(f$time[keep], 365)), p$inst); out[as.integer(rownames(a))] <- a; out })
cat(sprintf("accounts: se of the difference of the means %.10f\n", sqrt(sum((both[[2]] - both[[1]])^2))))

# A competing exit with accounts, and cmprsk's variance (Aalen's) of the same curve
d$event <- factor(ifelse(d$s == 1 & seq_len(nrow(d)) %% 3 == 0, 2, d$s), 0:2, c("censored", "activated", "exit"))
for (man in 0:1) {
  p <- subset(d, x == man)
  f <- survfit(Surv(t, event) ~ 1, data = p, influence = 1)
  on <- f$influence.pstate[, -1, 2]  # the first column is the time before all others
  at <- sapply(c(60, 180, 360), function(day) max(which(f$time <= day)))
  keep <- f$time < 365
  area <- on[, keep] %*% diff(c(f$time[keep], 365))
  cat(sprintf("exits, sex %d: se by institution at day 60, 180, 360 %.10f %.10f %.10f, of the days lost of 365 %.10f\n", man,
              sqrt(sum(rowsum(on[, at[1]], p$inst)^2)), sqrt(sum(rowsum(on[, at[2]], p$inst)^2)),
              sqrt(sum(rowsum(on[, at[3]], p$inst)^2)), sqrt(sum(rowsum(area, p$inst)^2))))
}
f <- survfit(Surv(t, event) ~ x, data = d)
print(lapply(summary(f, times = c(60, 180, 360))[c("pstate", "std.err")], function(m) m[, 2]), digits = 12)
library(cmprsk)
ci <- cuminc(d$t, as.integer(d$event) - 1, d$x)
print(lapply(timepoints(ci, c(60, 180, 360)), function(m) m[1:2, ]), digits = 12)

# Two strata of the landmark comparison: Cox and log-rank stratified
w <- subset(transform(lung, s = status - 1, x = as.integer(sex == 1), z = ph.ecog > 0), !is.na(ph.ecog))
f <- coxph(Surv(time, s) ~ x + strata(z), data = w, control = coxph.control(eps = 1e-12, toler.chol = 1e-13))
cat(sprintf("strata: coef %.10f se %.10f log-rank chisq %.10f\n", coef(f), sqrt(vcov(f)[1, 1]), survdiff(Surv(time, s) ~ x + strata(z), data = w)$chisq))

# One side without an event: 60 users of whom one activates on each of 40 days, 50 of whom none does; clusters of five users in a row
d <- data.frame(t = c(1:40, rep(45, 70)), s = rep(1:0, c(40, 70)), x = rep(1:0, c(60, 50)), g = rep(1:22, each = 5))
f <- survdiff(Surv(t, s) ~ x, data = d)
cat(sprintf("one side: log-rank chisq %.12f p %.12g robust score %.10f\n", f$chisq, pchisq(f$chisq, 1, lower.tail = FALSE),
            suppressWarnings(coxph(Surv(t, s) ~ x, data = d, cluster = g))$rscore))  # at 0; the coefficient itself is infinite

# Other things equal: sex and ECOG score (0, 2 against 1) with a baseline of their own for users above 65; then errors by institution; then late entry
w <- subset(transform(lung, s = status - 1, x = as.integer(sex == 1), old = age > 65), ph.ecog %in% 0:2)
w$zero <- as.integer(w$ph.ecog == 0); w$two <- as.integer(w$ph.ecog == 2)
w$inst <- ifelse(is.na(w$inst), 1000, w$inst)
w$entry <- ifelse(seq_len(nrow(w)) %% 2 == 0, (seq_len(nrow(w)) * 7) %% 120, 0)
tight <- coxph.control(eps = 1e-12, toler.chol = 1e-13)
for (width in c(1, 28)) {
  v <- transform(w, t = width * (time %/% width))
  f <- coxph(Surv(t, s) ~ x + zero + two + strata(old), data = v, control = tight)
  z <- cox.zph(f, transform = "km", terms = FALSE)
  cat(sprintf("adjusted, width %d: coef %.10f se %.10f cox.zph p %.10f\n", width, coef(f), sqrt(diag(vcov(f))), z$table[1:3, 3]), sep = "")
  f <- coxph(Surv(t, s) ~ x + zero + two + strata(old), data = v, cluster = inst, control = tight)
  cat(sprintf("adjusted, width %d: robust se %.10f\n", width, sqrt(diag(f$var))), sep = "")
}
f <- coxph(Surv(entry, time, s) ~ x + zero + two + strata(old), data = subset(w, entry < time), cluster = inst, control = tight)
cat(sprintf("adjusted, late: n %d coef %.10f robust se %.10f\n", f$n, coef(f), sqrt(diag(f$var))), sep = "")

# Four groups at once (ECOG score; one user alone has a 3), by institution too; quartiles; shares of which ratios are made
for (width in c(1, 7)) {
  r <- survdiff(Surv(width * (time %/% width), status) ~ ph.ecog, data = lung)
  cat(sprintf("four groups, width %d: chisq %.10f df %d\n", width, r$chisq, length(r$n) - 1))
}
w <- subset(transform(lung, s = status - 1, inst = ifelse(is.na(inst), 1000, inst)), !is.na(ph.ecog) & ph.ecog < 3)
cat(sprintf("the first three by institution: robust score %.10f\n", coxph(Surv(time, s) ~ factor(ph.ecog), data = w, cluster = inst)$rscore))
print(quantile(survfit(Surv(time, status) ~ x, data = aml, conf.type = "log-log"), c(.25, .5, .75)))
print(unlist(summary(survfit(Surv(time, status) ~ sex, data = lung), times = 365)[c("surv", "std.err")]), digits = 12)
