# The whole program of the greeter image: says hello on standard output, then waits for a signal to end it.
#
#   as greeter.s -o greeter.o && ld -n -s --build-id=none -z noseparate-code greeter.o -o greeter
#
# Linux on amd64, no libraries: 400 bytes that start from an image without anything else in it.
        .globl  _start
        .text
_start:
        mov     $1, %eax                # write(
        mov     $1, %edi                #   standard output,
        lea     hello(%rip), %rsi       #   hello,
        mov     $hello_size, %edx       #   its size)
        syscall
wait:
        mov     $34, %eax               # pause()
        syscall
        jmp     wait

hello:  .ascii  "hello from a cluster image\n"
        .set    hello_size, . - hello
