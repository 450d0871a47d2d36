-- Expressions that several queries use, as DuckDB macros. The renderer expands them, so the database
-- does not need them.

-- The statuses in which a run has ended; only such runs are counted.
CREATE MACRO has_ended(status) AS status IN ('COMPLETED', 'FAILED', 'CANCELLED');

-- Wilson's score interval for a share p of n, with k = z² / n. In this short form its bounds are
-- (p + k/2 ∓ √(k·p·(1 − p) + k²/4)) / (1 + k).
-- Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
-- Journal of the American Statistical Association 22 (1927), 209–212.
CREATE MACRO wilson_low(p, k) AS (p + k / 2 - SQRT(k * p * (1 - p) + k * k / 4)) / (1 + k);
CREATE MACRO wilson_high(p, k) AS
    LEAST(1, (p + k / 2 + SQRT(k * p * (1 - p) + k * k / 4)) / (1 + k)); -- rounding may exceed 1

-- z² for 95 %: the 0.95 quantile of the chi-square distribution with one degree of freedom.
CREATE MACRO z_squared() AS 3.841458820694124;

-- A message with what varies from run to run masked, so that what is left is its template. The
-- masks work from the inside out: what redaction keeps of a value ([email:1a2b3c4d5e] becomes
-- [email]), quoted text (single quotes only after a blank: the others may be
-- apostrophes), URLs, UUIDs, times, selectors (XPath, [attribute=…], #id; .class looks like the end
-- of a file's name), and last the numbers that are left. Only what the regular expressions of all
-- databases have in common is used, and no backslash, which some read in strings. A change of a
-- mask raises the version: templates of two versions cannot be compared.
CREATE MACRO masks_version() AS 2;
CREATE MACRO masked(message) AS
    REGEXP_REPLACE(
        REGEXP_REPLACE(
            REGEXP_REPLACE(
                REGEXP_REPLACE(
                    REGEXP_REPLACE(
                        REGEXP_REPLACE(
                            REGEXP_REPLACE(
                                REGEXP_REPLACE(message, ':([0-9a-f]{10}|…[^] ]*)[]]', ']', 'g'),
                                '"[^"]*"|„[^“”]*[“”]|“[^”]*”|«[^»]*»|`[^`]*`', '<text>', 'g'
                            ),
                            ' ''[^'']*''', ' <text>', 'g'
                        ),
                        '[a-z]+://[^ )>,;]+', '<url>', 'g'
                    ),
                    '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}',
                    '<uuid>', 'g'
                ),
                '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?|[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?',
                '<time>', 'g'
            ),
            '//[a-zA-Z*][^ ]*|[a-zA-Z0-9*]*[[][^] ]*=[^]]*[]]|[a-zA-Z0-9]*#[a-zA-Z_][a-zA-Z0-9_-]*',
            '<selector>', 'g'
        ),
        '[0-9]+([.,][0-9]+)*', '<n>', 'g'
    );

-- The day a moment falls on, in the time zone asked for.
CREATE MACRO day_of(moment) AS CAST(moment AT TIME ZONE :time_zone AS DATE);
