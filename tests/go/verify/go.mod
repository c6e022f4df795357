module signet.test/verify

go 1.24
