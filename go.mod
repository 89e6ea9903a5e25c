module github.com/rootlun/rootlun

go 1.26.0
