//go:build !linux

package main

const memoryFolder = ""

// freeMemory returns 0: other systems have no file system in memory that exists without setup.
func freeMemory() int64 { return 0 }
